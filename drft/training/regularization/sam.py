"""Sharpness-aware minimization (Foret et al. 2021): the gradient where the loss is highest nearby."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from drft.training.regularization.stoch_norm import still_statistics

_LEAST_NORM = 1e-12
"""Keeps a gradient of zero from becoming a direction of NaN, as in the authors' program."""


def sharpness_aware_gradient(
    add_gradient: Callable[[], Tensor], parameters: Iterable[nn.Parameter], net: nn.Module, rho: float
) -> Tensor:
    """Leave the gradient at ``w + rho · g / ‖g‖`` in the parameters' ``grad``, where g is the gradient at w.

    The weights are afterwards what they were, bit by bit. The second pass draws the same dropout as the first, and
    leaves batch-norm statistics alone. The direction does not depend on how a loss scaler scales gradients; where one
    is not finite there is no second pass, and it is left for the scaler to see.

    Args:
        add_gradient: adds the gradient of the batch to ``grad``, and returns its loss.
        parameters: the trained ones, without gradients so far.
        net: the network they belong to.
        rho: how far to go.

    Returns:
        The loss at w.
    """
    parameters = list(parameters)
    cuda = sorted({parameter.device.index for parameter in parameters if parameter.is_cuda})
    with torch.random.fork_rng(devices=cuda):
        loss = add_gradient()
    moved = [parameter for parameter in parameters if parameter.grad is not None]
    norm = _gradient_norm(moved)
    if not torch.isfinite(norm):
        return loss
    weights = [parameter.detach().clone() for parameter in moved]
    _climb(moved, rho / (norm + _LEAST_NORM))
    with still_statistics(net):
        add_gradient()
    with torch.no_grad():
        for parameter, weight in zip(moved, weights, strict=True):
            parameter.copy_(weight)
    return loss


def _gradient_norm(parameters: list[nn.Parameter]) -> Tensor:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(each) for each in gradients]))
    return norm


@torch.no_grad()
def _climb(parameters: list[nn.Parameter], rate: Tensor) -> None:
    """Move parameters up their gradients, and clear these."""
    for parameter in parameters:
        assert parameter.grad is not None
        parameter.add_(parameter.grad * rate)
        parameter.grad = None
