"""Low-rank updates of frozen weights (LoRA, Hu et al. 2022): ``W = W0 + (alpha / rank) B A``.

Only the factors ``A`` and ``B`` are trained. The network computes with the merged weight ``W``, which stays its own
parameter, so its graph, state and checkpoints are those of any training. The gradients of the factors follow from that
of ``W`` by the product rule; hooks compute them during the backward pass.

A weight is treated as a matrix with one row per output. The columns are the inputs of an output: for a convolution, the
channels of its group times the pixels of its kernel. peft does the same for convolutions with one group; the authors'
library multiplies the rank by k for kernels of k x k pixels.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn


def adapter_size(shape: Sequence[int], rank: int) -> int:
    """Return the number of parameters in both factors of a weight of this shape."""
    outputs, inputs = shape[0], prod(shape[1:])
    return min(rank, outputs, inputs) * (outputs + inputs)


class LoRA:
    """The low-rank updates of some weights of a network.

    ``A`` is initialized like a linear layer and ``B`` with zeros, so that the network starts unchanged. The rank of an
    update is at most the number of rows and of columns of its weight.

    Args:
        weights: by name. They are changed in place; no optimizer may hold them.
        rank: rank of the updates.
        alpha: the updates are multiplied by ``alpha / rank``.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], rank: int, alpha: float) -> None:
        self._updates = [_LoRAUpdate(weight, rank, alpha / rank) for weight in weights.values()]
        self.factors = {name: (update.down, update.up) for name, update in zip(weights, self._updates, strict=True)}
        """The factors of each weight by name: ``A`` of shape (rank, inputs) and ``B`` of shape (outputs, rank)."""

    @contextlib.contextmanager
    def collecting_gradients(self) -> Iterator[None]:
        """Within the block, let every backward pass add to the ``grad`` of the factors, not to that of the weights."""
        hooks = [
            update.weight.register_post_accumulate_grad_hook(update.take_gradient)  # type: ignore[no-untyped-call]
            for update in self._unfrozen()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def merge(self) -> None:
        """Set the network's weights according to the present factors."""
        for update in self._unfrozen():
            product = (update.up @ update.down).view(update.weight.shape)
            update.weight.copy_(torch.add(update.start, product, alpha=update.scale))

    def _unfrozen(self) -> Sequence["_LoRAUpdate"]:
        """Return the updates of the weights that are not frozen at present (gradual unfreezing)."""
        return [update for update in self._updates if update.weight.requires_grad]


class _LoRAUpdate:
    """The low-rank update of one weight."""

    def __init__(self, weight: nn.Parameter, rank: int, scale: float) -> None:
        self.weight = weight
        self.weight.grad = None  # the network may come from an earlier training, with the last gradient of that one
        self.start = weight.detach().clone()
        self.scale = scale
        outputs, inputs = weight.shape[0], prod(weight.shape[1:])
        rank = min(rank, outputs, inputs)
        self.down = nn.Parameter(weight.new_empty(rank, inputs))
        self.up = nn.Parameter(weight.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    @torch.no_grad()
    def take_gradient(self, weight: Tensor) -> None:
        """Add the gradient of the weight to those of the factors, and delete it."""
        assert weight.grad is not None
        gradient = weight.grad.flatten(1) * self.scale
        for factor, change in ((self.down, self.up.T @ gradient), (self.up, gradient @ self.down.T)):
            factor.grad = change if factor.grad is None else factor.grad + change
        weight.grad = None
