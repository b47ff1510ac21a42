"""Optimizer steps as CUDA graphs: one call starts all kernels of a step, which Python would start one after the other.

A step of a small network has several hundred short kernels, and starting them from Python takes longer than the kernels
themselves.
"""

import contextlib
import functools
import logging
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from drft.feature_cache.cache_file import Activations
from drft.models.devices import device_memory

_log = logging.getLogger(__name__)

_WARM_UP = 2
"""Steps of each batch size that Python runs before one is captured: libraries allocate memory in their first call."""

Step = Callable[[Activations, Tensor], Tensor]
"""Takes activations and grades of a batch, makes one optimizer step, and returns the loss without a gradient."""


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of all captures: cuBLAS keeps 32 MiB of memory for each stream that it was used on.

    Graphs that were captured on it share this memory: those of two trainings may not be replayed at the same time.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class _Captured(NamedTuple):
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    """The activations and the grades that the graph reads."""
    loss: Tensor


class StepGraphs:
    """Runs optimizer steps, from the third of each batch size on as a CUDA graph.

    A graph repeats the kernels of the step that it was captured from, on the same memory. So a step may do nothing that
    depends on the values of its batch, and its learning rates are read from a tensor. A step that cannot be captured,
    for want of memory or because it waits for the GPU, is run by Python from then on.

    Args:
        optimizer: the fused optimizer that the steps use. Its groups may have another learning rate in every step;
            nothing else of them may change.
        device: the GPU.
    """

    def __init__(self, optimizer: Optimizer, device: torch.device) -> None:
        self._optimizer = optimizer
        self._device = device
        self._rates = torch.zeros(len(optimizer.param_groups), device=device)
        self._stream = _stream(device)
        self._steps: Counter[int] = Counter()
        self._captured: dict[int, _Captured] = {}
        self._capturable = True

    def run(self, step: Step, activations: Activations, grades: Tensor) -> Tensor:
        """Make a step, as ``step`` does; it must be the same one in every call."""
        size = len(grades)
        self._steps[size] += 1
        if self._steps[size] > _WARM_UP and size not in self._captured and self._capturable:
            self._try_to_capture(step, activations, grades)
        if size not in self._captured:
            # On the stream of the captures: a capture fails if gradients belong to the default stream.
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(self._stream):
                loss = step(activations, grades)
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
            return loss
        captured = self._captured[size]
        rates = torch.tensor([group["lr"] for group in self._optimizer.param_groups])
        self._rates.copy_(rates, non_blocking=True)
        for static, values in zip(captured.inputs, (*activations, grades), strict=True):
            static.copy_(values)
        captured.graph.replay()
        return captured.loss.clone()  # the next replay overwrites it

    def _try_to_capture(self, step: Step, activations: Activations, grades: Tensor) -> None:
        if torch.cuda.memory_reserved(self._device) > device_memory(self._device) / 2:
            torch.cuda.empty_cache()  # memory that a capture needs cannot be taken from the cache of other graphs
        try:
            self._captured[len(grades)] = self._capture(step, activations, grades)
        except RuntimeError as error:  # includes a lack of memory
            self._capturable = False
            _log.warning("optimizer steps are started one by one: %s", str(error).strip().partition("\n")[0])

    def _capture(self, step: Step, activations: Activations, grades: Tensor) -> _Captured:
        """Record the kernels of a step; nothing is computed."""
        inputs = tuple(tensor.clone() for tensor in (*activations, grades))
        graph = torch.cuda.CUDAGraph()
        groups = self._optimizer.param_groups
        before = [dict(group) for group in groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group.update(lr=rate, capturable=True)
        pool = next(((other.graph.pool(),) for other in self._captured.values()), ())
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        try:
            # Not ``torch.cuda.graph``, which waits for the device and frees all its memory first.
            with torch.cuda.stream(self._stream):
                graph.capture_begin(*pool)
                try:
                    loss = step(inputs[:-1], inputs[-1])
                except BaseException:
                    with contextlib.suppress(RuntimeError):  # the error of the step says more
                        graph.capture_end()
                    raise
                graph.capture_end()
        finally:
            for group, values in zip(groups, before, strict=True):
                group.clear()
                group.update(values)
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        return _Captured(graph, inputs, loss)
