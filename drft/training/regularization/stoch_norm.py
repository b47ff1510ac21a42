"""StochNorm (Kou et al. 2020): batch norms that now and then do without the statistics of the batch."""

import contextlib
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from drft.config.trial_config import TrialConfig
from drft.errors import BackboneError

_Statistics = tuple[Tensor, Tensor]
"""Running mean and variance, each of shape (channels,)."""


def batch_norms(net: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms of a network that keep running statistics."""
    norms = (module for module in net.modules() if isinstance(module, _BatchNorm))
    return [norm for norm in norms if norm.running_var is not None]


def check_batch_norms(config: TrialConfig, net: nn.Module) -> None:
    """Refuse StochNorm where it has nothing to act on.

    Raises:
        BackboneError: when the network has no batch norms.
    """
    if config.regularization.stoch_norm and not batch_norms(net):
        raise BackboneError(f"regularization.stoch_norm: {config.backbone.name} has no batch norms, set it to 0")


@contextlib.contextmanager
def stochastic_norms(net: nn.Module, probability: float) -> Iterator[None]:
    """Let the batch norms that are in training normalize each channel by moving statistics with a probability.

    The moving statistics are those before this batch moves them, as in the authors' library, whose p is the probability
    of the batch's own. Where a pass leaves them still (:func:`still_statistics`), they are those of the pass before.
    Channels are drawn anew in every pass, by torch's generator. Norms in evaluation mode act as ever. No module is
    replaced: what the network was cut into acts alike.

    Args:
        net: the network.
        probability: 0 changes nothing.
    """
    before: dict[_BatchNorm, _Statistics] = {}

    def keep(norm: _BatchNorm, _inputs: tuple[Tensor, ...]) -> None:
        if norm.training and (norm.momentum != 0 or norm not in before):
            mean, variance = cast("_Statistics", (norm.running_mean, norm.running_var))
            before[norm] = mean.clone(), variance.clone()

    def choose(norm: _BatchNorm, inputs: tuple[Tensor, ...], by_batch: Tensor) -> Tensor | None:
        if not norm.training:
            return None
        with _evaluating(norm, before[norm]):
            # The norm's own forward: what it does beside (timm's activation) acts on each channel by itself.
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
def _evaluating(norm: _BatchNorm, statistics: _Statistics) -> Iterator[None]:
    """Let a norm evaluate by these statistics."""
    own = (norm.running_mean, norm.running_var)
    norm.running_mean, norm.running_var = statistics
    norm.training = False
    try:
        yield
    finally:
        norm.training = True
        norm.running_mean, norm.running_var = own


@contextlib.contextmanager
def still_statistics(net: nn.Module) -> Iterator[None]:
    """Let batch norms in training normalize by the batch as ever, but leave their running statistics where they are."""
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in batch_norms(net)]
    for norm, *_ in before:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, tracked in before:
            norm.momentum, norm.num_batches_tracked = momentum, tracked
