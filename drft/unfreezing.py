"""Where to unfreeze: what one phase trains of a network, from which epoch on, and at which learning rates."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from drft.config import TrialConfig
from drft.config_parts import DepthPhaseConfig
from drft.models.backbone import Model
from drft.models.blocks import set_trainable, trainable_fraction, trained_blocks, training_modes
from drft.models.lora import LowRankUpdates
from drft.optim import parameter_groups
from drft.records import Phase


class Unfreezing:
    """What one phase trains of a network.

    The head phase trains the head alone. The depth phase trains the last ``depth`` blocks with it, or those that its
    settings single out; under gradual unfreezing it comes to them from the last block, one by one.

    All that the phase will ever train is in ``groups`` from its first epoch on, so that one schedule runs through the
    whole phase and nobody's moments are lost. Whatever is still frozen has no gradient, and optimizers pass over it.

    Args:
        model: the network.
        config: of the training.
        phase: which of its phases.

    Raises:
        BackboneError: when the backbone has fewer blocks than the configuration's depth.
    """

    def __init__(self, model: Model, config: TrialConfig, phase: Phase) -> None:
        self._net = model.net
        self._batch_norm = config.batch_norm
        self._depth = config.depth if phase == "depth" else 0
        self._how = config.depth_phase if phase == "depth" else DepthPhaseConfig(head_lr=config.head_phase.lr)
        self.unfreeze(self._depth)
        self.updates = self._low_rank_updates()
        """The low-rank updates that are trained in place of weights: none unless the settings say so."""
        self.groups = self._groups()
        """Parameter groups for the optimizer, as ``parameter_groups`` returns them."""

    @property
    def by_layer(self) -> bool:
        """Whether the learning rates of layers are scaled by their relative gradient norms."""
        return self._how.auto_rgn

    def depth_at(self, epoch: int) -> int:
        """Return the depth of an epoch, counted within the phase from 1: where the frozen prefix ends."""
        if not self._how.gradual_epochs:
            return self._depth
        return min(self._depth, 1 + (epoch - 1) // self._how.gradual_epochs)

    def unfreeze(self, depth: int) -> Mapping[nn.Module, bool]:
        """Let gradients reach what is trained at a depth, and nothing else.

        Returns:
            For every module of the network, whether it is in training mode when an epoch trains.
        """
        set_trainable(self._net, depth, self._how.window, self._how.parameters)
        return training_modes(self._net, depth, self._batch_norm, self._how.window)

    def _low_rank_updates(self) -> LowRankUpdates:
        blocks = trained_blocks(self._net, self._depth, self._how.window) if self._how.parameters == "lora" else ()
        deep = {name: self._net.get_parameter(name) for block in blocks for name in block.parameters}
        weights = {name: parameter for name, parameter in deep.items() if parameter.requires_grad}
        return LowRankUpdates(weights, self._how.lora_rank, self._how.lora_alpha)

    def _groups(self) -> list[dict[str, Any]]:
        return parameter_groups(
            self._net,
            trained_blocks(self._net, self._depth, self._how.window),
            head_lr=self._how.head_lr,
            block_lr=self._how.lr,
            layer_decay=self._how.layer_decay,
            factors=self.updates.factors,
            by_layer=self.by_layer,
        )


def share_trained(model: Model, config: TrialConfig) -> float:
    """Return the parameters that the depth phase trains at its end, as a share of the backbone's.

    Raises:
        BackboneError: when the backbone has fewer blocks than the configuration's depth.
    """
    how = config.depth_phase
    return trainable_fraction(model.net, config.depth, how.window, how.parameters, how.lora_rank)
