"""Averages of the weights over the updates of a phase (Polyak & Juditsky 1992; Tarvainen & Valpola 2017)."""

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


class ExponentialMovingAverage:
    """The exponential moving average of some tensors; decay 0 keeps none.

    In the t-th update of a tensor the decay is ``min(decay, 1 - 1/t)``: the average is the plain mean of its first
    values, so that few updates do not leave it at the start, which does not count.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._followed: list[_Followed] = []

    def follow(self, tensors: Iterable[Tensor]) -> None:
        """Average these tensors from now on; those that are averaged already go on."""
        known = {id(tensor) for followed in self._followed for tensor in followed.tensors}
        fresh = [tensor for tensor in tensors if id(tensor) not in known]
        if self.decay and fresh:
            self._followed.append(_Followed(fresh))

    @torch.no_grad()
    def update(self) -> None:
        """Take the values that the tensors have now into the average."""
        for followed in self._followed:
            followed.update(self.decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the tensors hold their averages within."""
        before = [tensor.detach().clone() for followed in self._followed for tensor in followed.tensors]
        self.settle()
        try:
            yield
        finally:
            tensors = (tensor for followed in self._followed for tensor in followed.tensors)
            with torch.no_grad():
                for tensor, value in zip(tensors, before, strict=True):
                    tensor.copy_(value)

    @torch.no_grad()
    def settle(self) -> None:
        """Let the tensors hold their averages from now on."""
        for followed in self._followed:
            for tensor, average in zip(followed.tensors, followed.averages, strict=True):
                tensor.copy_(average)


class _Followed:
    """Tensors that are averaged since the same update; integers are not averaged but followed."""

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
