"""Moving average of the weights in a phase (Polyak & Juditsky 1992; Tarvainen & Valpola 2017)."""

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


class ExponentialMovingAverage:
    """The exponential moving average of some tensors; with decay 0 nothing is averaged.

    The decay of the t-th update is ``min(decay, 1 - 1/t)``. So the average of the first values is their plain mean, and
    the value before the first update has no weight.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._groups: list[_AveragedTensors] = []

    def track(self, tensors: Iterable[Tensor]) -> None:
        """Average these tensors from now on; averages that have begun continue."""
        known = {id(tensor) for group in self._groups for tensor in group.tensors}
        new = [tensor for tensor in tensors if id(tensor) not in known]
        if self.decay and new:
            self._groups.append(_AveragedTensors(new))

    @torch.no_grad()
    def update(self) -> None:
        """Add the present values of the tensors to their averages."""
        for group in self._groups:
            group.update(self.decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the tensors by their averages inside the ``with`` block, and restore them afterwards."""
        before = [tensor.detach().clone() for group in self._groups for tensor in group.tensors]
        self.apply()
        try:
            yield
        finally:
            tensors = (tensor for group in self._groups for tensor in group.tensors)
            with torch.no_grad():
                for tensor, value in zip(tensors, before, strict=True):
                    tensor.copy_(value)

    @torch.no_grad()
    def apply(self) -> None:
        """Replace the tensors by their averages."""
        for group in self._groups:
            for tensor, average in zip(group.tensors, group.averages, strict=True):
                tensor.copy_(average)


class _AveragedTensors:
    """Tensors whose averages began with the same update. Integers (counters) are copied, not averaged."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors
        self.averages = [tensor.detach().clone() for tensor in tensors]
        self._updates = 0

    def update(self, decay: float) -> None:
        self._updates += 1
        weight = 1 - min(decay, 1 - 1 / self._updates)
        for average, tensor in zip(self.averages, self.tensors, strict=True):
            if average.is_floating_point():
                average.lerp_(tensor, weight)
            else:
                average.copy_(tensor)
