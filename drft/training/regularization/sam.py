"""Sharpness-aware minimization (Foret et al. 2021): the gradient where the loss is highest nearby."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from drft.training.regularization.stoch_norm import frozen_statistics

_SMALLEST_NORM = 1e-12
"""Added to the norm, so that a gradient of zero has a direction of zero and not NaN, as in the authors' program."""


def sharpness_aware_gradient(
    add_gradient: Callable[[], Tensor], parameters: Iterable[nn.Parameter], net: nn.Module, rho: float
) -> Tensor:
    """Leave the gradient at ``w + rho · g / ‖g‖`` in the parameters' ``grad``, where g is the gradient at w.

    Afterwards the weights are what they were, bit by bit. The second pass uses the dropout masks of the first and does
    not update batch-norm statistics. A loss scaler's factor does not change the direction. When the norm of g is not
    finite there is no second pass, and the loss scaler finds the non-finite gradient.

    Args:
        add_gradient: adds the gradient of the batch to ``grad``, and returns its loss.
        parameters: the trained ones, without gradients so far.
        net: the network they belong to.
        rho: length of the step.

    Returns:
        The loss at w.
    """
    parameters = list(parameters)
    cuda = sorted({parameter.device.index for parameter in parameters if parameter.is_cuda})
    with torch.random.fork_rng(devices=cuda):
        loss = add_gradient()
    moved = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in moved if parameter.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))
    if not torch.isfinite(norm):
        return loss
    weights = [parameter.detach().clone() for parameter in moved]
    with torch.no_grad():
        for parameter, gradient in zip(moved, gradients, strict=True):
            parameter.add_(gradient * (rho / (norm + _SMALLEST_NORM)))
            parameter.grad = None
    with frozen_statistics(net):
        add_gradient()
    with torch.no_grad():
        for parameter, weight in zip(moved, weights, strict=True):
            parameter.copy_(weight)
    return loss
