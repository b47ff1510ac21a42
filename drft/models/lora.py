"""Low-rank updates of frozen weights (LoRA, Hu et al. 2022): ``W = W0 + (alpha / rank) B A``.

Only the factors learn, and the network computes with the sum, which is a plain parameter of its own: its graph, its
state and its checkpoints are those of any training. ``W`` enters the network through nothing but ``B A``, so the
gradients of the factors follow from that of ``W`` by the product rule; they are worked out as backward leaves it.

A weight is taken as the matrix of its outputs by all that an output is computed from: for a convolution the channels of
its group and the pixels of its kernel, whatever the number of groups. So does peft where there is one group; the
authors' library gives kernels of k x k pixels k times the rank.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def adapter_size(shape: Sequence[int], rank: int) -> int:
    """Return how many numbers the factors of a weight of this shape hold."""
    outputs, inputs = shape[0], prod(shape[1:])
    return min(rank, outputs, inputs) * (outputs + inputs)


class LoRA:
    """The factors of some weights of a network.

    ``A`` is drawn as torch draws a linear layer, ``B`` is zero, so that the network starts as it was. No rank is above
    the number of rows or columns of its weight.

    Args:
        weights: by name; they are changed in place and belong in no optimizer.
        rank: of the updates.
        alpha: the updates count ``alpha / rank`` times.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], rank: int, alpha: float) -> None:
        self._updates = [_LoRAUpdate(weight, rank, alpha / rank) for weight in weights.values()]
        self.factors = {name: (update.down, update.up) for name, update in zip(weights, self._updates, strict=True)}
        """The two factors of each weight, ``A`` of shape (rank, inputs) and ``B`` of shape (outputs, rank)."""

    @contextlib.contextmanager
    def learning(self) -> Iterator[None]:
        """Let every backward within add to the ``grad`` of the factors instead of that of the weights."""
        hooks = [update.listen() for update in self._learning]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def merge(self) -> None:
        """Let the network compute with the factors as they are now."""
        for update in self._learning:
            update.merge()

    @property
    def _learning(self) -> Sequence["_LoRAUpdate"]:
        """The updates of those weights that are not frozen for now."""
        return [update for update in self._updates if update.weight.requires_grad]


class _LoRAUpdate:
    """The update of one weight."""

    def __init__(self, weight: nn.Parameter, rank: int, scale: float) -> None:
        self.weight = weight
        self.weight.grad = None  # a warm network may hold the last one of the training before
        self._start = weight.detach().clone()
        self._scale = scale
        outputs, inputs = weight.shape[0], prod(weight.shape[1:])
        rank = min(rank, outputs, inputs)
        self.down = nn.Parameter(weight.new_empty(rank, inputs))
        self.up = nn.Parameter(weight.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def listen(self) -> RemovableHandle:
        hook: RemovableHandle = self.weight.register_post_accumulate_grad_hook(self._hand_on)  # type: ignore[no-untyped-call]
        return hook

    def merge(self) -> None:
        update = (self.up @ self.down).view(self.weight.shape)
        self.weight.copy_(torch.add(self._start, update, alpha=self._scale))

    @torch.no_grad()
    def _hand_on(self, weight: Tensor) -> None:
        assert weight.grad is not None
        gradient = weight.grad.flatten(1) * self._scale
        _add_gradient(self.down, self.up.T @ gradient)
        _add_gradient(self.up, gradient @ self.down.T)
        weight.grad = None


def _add_gradient(factor: nn.Parameter, gradient: Tensor) -> None:
    factor.grad = gradient if factor.grad is None else factor.grad + gradient
