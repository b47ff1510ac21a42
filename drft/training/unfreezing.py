"""Which parameters one phase trains, from which epoch on, and at which learning rates."""

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
    """The trainable part of a network in one phase.

    The head phase trains the head alone. The depth phase trains the head and the last ``depth`` blocks, or the part of
    them that its settings select; with gradual unfreezing it adds them block by block, starting at the head.

    ``groups`` holds everything that the phase will train from its first epoch on. So one schedule runs through the
    whole phase and no optimizer state is lost. Parameters that are still frozen have no gradient, and optimizers skip
    them.

    Args:
        model: the network. Afterwards only the parameters that the first epoch trains require a gradient.
        config: settings of the training.
        phase: ``head`` or ``depth``.

    Raises:
        BackboneError: when the backbone has fewer blocks than the configuration's depth.
    """

    modes: Mapping[nn.Module, bool]
    """For every module of the network, whether it is in training mode while an epoch trains."""

    def __init__(self, model: Model, config: TrialConfig, phase: Phase) -> None:
        self._net = model.net
        self._batch_norm = config.batch_norm
        self._deepest = config.depth if phase == "depth" else 0
        self._settings = config.depth_phase if phase == "depth" else DepthPhaseConfig(head_lr=config.head_phase.lr)
        self._unfreeze(self._deepest)
        blocks = model.blocks[len(model.blocks) - self._deepest :][: self._settings.window]
        deep = {name: self._net.get_parameter(name) for block in blocks for name in block.parameters}
        low_rank = self._settings.parameters == "lora"
        weights = {name: weight for name, weight in deep.items() if weight.requires_grad and low_rank}
        self.lora = LoRA(weights, self._settings.lora_rank, self._settings.lora_alpha)
        """Low-rank updates that are trained in place of weights; empty unless the settings select them."""
        self.groups: list[dict[str, Any]] = parameter_groups(
            self._net,
            blocks,
            head_lr=self._settings.head_lr,
            block_lr=self._settings.lr,
            layer_decay=self._settings.layer_decay,
            factors=self.lora.factors,
            by_layer=self.auto_rgn,
        )
        """Parameter groups for the optimizer."""
        self.advance_to(1)

    @property
    def auto_rgn(self) -> bool:
        """Whether the learning rates of layers are scaled by their relative gradient norms (Auto-RGN)."""
        return self._settings.auto_rgn

    def depth_at(self, epoch: int) -> int:
        """Return the depth that an epoch of the phase (from 1) trains."""
        if not self._settings.gradual_epochs:
            return self._deepest
        return min(self._deepest, 1 + (epoch - 1) // self._settings.gradual_epochs)

    def advance_to(self, epoch: int) -> bool:
        """Make trainable exactly what an epoch trains; return whether its depth differs from that of the last epoch."""
        depth = self.depth_at(epoch)
        if depth == self.depth:
            return False
        self._unfreeze(depth)
        return True

    def _unfreeze(self, depth: int) -> None:
        self.depth = depth
        """The depth that is trained at present."""
        set_trainable(self._net, depth, self._settings.window, self._settings.parameters)
        self.modes = training_modes(self._net, depth, self._batch_norm, self._settings.window)


def trained_fraction(model: Model, config: TrialConfig) -> float:
    """Return the share of the backbone's parameters that the depth phase trains in its last epoch.

    Raises:
        BackboneError: when the backbone has fewer blocks than the configuration's depth.
    """
    settings = config.depth_phase
    return trainable_fraction(model.net, config.depth, settings.window, settings.parameters, settings.lora_rank)
