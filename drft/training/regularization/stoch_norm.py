"""StochNorm (Kou et al. 2020): batch norms that use moving statistics for randomly chosen channels in training."""

import contextlib
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from drft.config.trial_config import TrialConfig
from drft.errors import BackboneError

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm

_Statistics = tuple[Tensor, Tensor]
"""Running mean and variance, each of shape (channels,)."""


def batch_norms(net: nn.Module) -> list[BatchNorm]:
    """Return the batch norms of a network that keep running statistics."""
    norms = (module for module in net.modules() if isinstance(module, BatchNorm))
    return [norm for norm in norms if norm.running_var is not None]


def check_batch_norms(config: TrialConfig, net: nn.Module) -> None:
    """Refuse StochNorm for a network without batch norms.

    Raises:
        BackboneError: when the network has no batch norms.
    """
    if config.regularization.stoch_norm and not batch_norms(net):
        raise BackboneError(f"regularization.stoch_norm: {config.backbone.name} has no batch norms, set it to 0")


@contextlib.contextmanager
def stochastic_norms(net: nn.Module, probability: float) -> Iterator[None]:
    """Let batch norms in training mode normalize each channel by moving statistics with a probability.

    The moving statistics are those before the batch updates them, as in the authors' library, whose p is the
    probability of batch statistics. Inside ``frozen_statistics`` they are those of the pass before. Channels are drawn
    in every pass from torch's generator. Norms in evaluation mode are unchanged. The norms get hooks and are not
    replaced, so the split network, which calls the same modules, has StochNorm too.

    Args:
        net: the network.
        probability: of moving statistics; 0 changes nothing.
    """
    before: dict[BatchNorm, _Statistics] = {}

    def keep(norm: BatchNorm, _inputs: tuple[Tensor, ...]) -> None:
        if norm.training and (norm.momentum != 0 or norm not in before):
            mean, variance = cast("_Statistics", (norm.running_mean, norm.running_var))
            before[norm] = mean.clone(), variance.clone()

    def choose(norm: BatchNorm, inputs: tuple[Tensor, ...], by_batch: Tensor) -> Tensor | None:
        if not norm.training:
            return None
        with _evaluating(norm, before[norm]):
            # The norm's own forward includes what timm adds to it: an activation, which acts on each channel alone.
            by_moving = norm.forward(*inputs)
        shape = (1, -1) + (1,) * (by_batch.ndim - 2)
        chosen = torch.rand(by_batch.shape[1], device=by_batch.device) < probability
        return torch.where(chosen.view(shape), by_moving, by_batch)

    norms = batch_norms(net) if probability else []
    handles = [norm.register_forward_pre_hook(keep) for norm in norms]
    handles += [norm.register_forward_hook(choose) for norm in norms]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def _evaluating(norm: BatchNorm, statistics: _Statistics) -> Iterator[None]:
    """Put a norm into evaluation mode with these statistics inside the ``with`` block."""
    own = (norm.running_mean, norm.running_var)
    norm.running_mean, norm.running_var = statistics
    norm.training = False
    try:
        yield
    finally:
        norm.training = True
        norm.running_mean, norm.running_var = own


@contextlib.contextmanager
def frozen_statistics(net: nn.Module) -> Iterator[None]:
    """Keep running statistics unchanged inside the ``with`` block; norms in training mode still normalize by batch."""
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in batch_norms(net)]
    for norm, *_ in before:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, tracked in before:
            norm.momentum, norm.num_batches_tracked = momentum, tracked
