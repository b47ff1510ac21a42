"""Where to unfreeze: what one phase trains of a network, from which epoch on, and at which learning rates."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from drft.config.sections import DepthPhaseConfig
from drft.config.trial_config import TrialConfig
from drft.models.backbone import Model
from drft.models.blocks import set_trainable, trainable_fraction, training_modes
from drft.models.lora import LoRA
from drft.training.optim import parameter_groups
from drft.training.records import Phase


class Unfreezing:
    """What one phase trains of a network.

    The head phase trains the head alone. The depth phase trains the last ``depth`` blocks with it, or those that its
    settings single out; under gradual unfreezing it comes to them from the last block, one by one.

    All that the phase will ever train is in ``groups`` from its first epoch on, so that one schedule runs through the
    whole phase and nobody's moments are lost. Whatever is still frozen has no gradient, and optimizers pass over it.

    Args:
        model: the network; only what the first epoch trains requires a gradient afterwards.
        config: of the training.
        phase: which of its phases.

    Raises:
        BackboneError: when the backbone has fewer blocks than the configuration's depth.
    """

    modes: Mapping[nn.Module, bool]
    """For every module of the network, whether it is in training mode when an epoch trains."""

    def __init__(self, model: Model, config: TrialConfig, phase: Phase) -> None:
        self._net = model.net
        self._batch_norm = config.batch_norm
        self._deepest = config.depth if phase == "depth" else 0
        self._how = config.depth_phase if phase == "depth" else DepthPhaseConfig(head_lr=config.head_phase.lr)
        self._unfreeze(self._deepest)
        blocks = model.blocks[len(model.blocks) - self._deepest :][: self._how.window]
        deep = {name: self._net.get_parameter(name) for block in blocks for name in block.parameters}
        weights = {name: weight for name, weight in deep.items() if weight.requires_grad and self._low_rank}
        self.updates = LoRA(weights, self._how.lora_rank, self._how.lora_alpha)
        """The low-rank updates that are trained in place of weights: none unless the settings say so."""
        self.groups: list[dict[str, Any]] = parameter_groups(
            self._net,
            blocks,
            head_lr=self._how.head_lr,
            block_lr=self._how.lr,
            layer_decay=self._how.layer_decay,
            factors=self.updates.factors,
            by_layer=self.by_layer,
        )
        """Parameter groups for the optimizer."""
        self.come_to(1)

    @property
    def by_layer(self) -> bool:
        """Whether the learning rates of layers are scaled by their relative gradient norms."""
        return self._how.auto_rgn

    @property
    def _low_rank(self) -> bool:
        return self._how.parameters == "lora"

    def depth_at(self, epoch: int) -> int:
        """Return the depth of an epoch, counted within the phase from 1: where the frozen prefix ends."""
        if not self._how.gradual_epochs:
            return self._deepest
        return min(self._deepest, 1 + (epoch - 1) // self._how.gradual_epochs)

    def come_to(self, epoch: int) -> bool:
        """Let gradients reach what an epoch trains, and nothing else; return whether that is another depth's."""
        depth = self.depth_at(epoch)
        if depth == self.depth:
            return False
        self._unfreeze(depth)
        return True

    def _unfreeze(self, depth: int) -> None:
        self.depth = depth
        """The depth that is trained now."""
        set_trainable(self._net, depth, self._how.window, self._how.parameters)
        self.modes = training_modes(self._net, depth, self._batch_norm, self._how.window)


def trained_fraction(model: Model, config: TrialConfig) -> float:
    """Return the parameters that the depth phase trains at its end, as a share of the backbone's.

    Raises:
        BackboneError: when the backbone has fewer blocks than the configuration's depth.
    """
    how = config.depth_phase
    return trainable_fraction(model.net, config.depth, how.window, how.parameters, how.lora_rank)
