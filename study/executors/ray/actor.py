"""A slot on some node of a Ray cluster: an actor with a local executor of one worker.

Trainings run in that worker and not in the actor. However a training ends, the actor reports it, starts a successor of
the worker if necessary, and still answers. Threads, memory settings, output and Ctrl-C are handled as on one machine.
"""

import os
import socket
import sys
import tempfile
import time
import types
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ray

from drft.config.trial_config import with_values
from study.executors.base import Event, Finished, Job, Workload
from study.executors.local.executor import LocalExecutor
from study.executors.ray.files import ShippedFiles, find, keep
from study.executors.resources import Slot

_PATIENCE = 1.0
"""Seconds that an actor waits for events. Then it returns, so that other calls get their turn."""


@dataclass(frozen=True, slots=True)
class ActorInfo:
    """The node and the name of an actor."""

    node: str
    """Ray's id of the node."""
    name: str
    """The slot's name for the user."""
    missing: tuple[int, ...]
    """Indices of the files that the node lacks."""


class WorkerActor:
    """The actor. Ray runs one call at a time, so no call takes long."""

    def __init__(self, index: int, shipped: ShippedFiles, scratch: str | None) -> None:
        """Prepare.

        Args:
            index: number of the slot.
            shipped: files that the trainings need.
            scratch: folder for temporary files; None for the system's.
        """
        tempfile.tempdir = scratch
        # multiprocessing imports the main module again in each process that it starts. Here that is a script of Ray's,
        # which imports all of Ray: workers get an empty module instead.
        self._main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
        self._shipped = shipped
        self._node = ray.get_runtime_context().get_node_id()
        self._name = f"ray-{socket.gethostname()}-{self._node[:6]}-{index}"
        self._executor: LocalExecutor | None = None
        self._job: Job | None = None
        self._weights: dict[str, str] = {}
        """Weight files on this node, by their names in configurations."""

    def describe(self, cache_dir: Path | None) -> ActorInfo:
        """Return where the actor runs and which files are missing there."""
        files = self._shipped.files
        missing = tuple(index for index, shipped in enumerate(files) if find(shipped, cache_dir) is None)
        return ActorInfo(self._node, self._name, missing)

    def open(self, workload: Workload, threads: int, log: Path | None, *contents: bytes) -> None:
        """Write the files that were missing, in their order, and start the worker."""
        missing = [shipped for shipped in self._shipped.files if find(shipped, workload.cache_dir) is None]
        for shipped, content in zip(missing, contents, strict=False):  # other actors of the node may have written some
            keep(shipped, content, workload.cache_dir)
        self._weights = {name: str(find(file, workload.cache_dir)) for name, file in self._shipped.weights.items()}
        gpu = os.environ["CUDA_VISIBLE_DEVICES"] if ray.get_gpu_ids() else None
        self._executor = LocalExecutor(workload, [Slot(self._name, gpu, threads)], log).__enter__()

    def next_events(self, message: Job | bool | None) -> Sequence[Event]:
        """Take a job or the answer to a report, and return the next events; none if that takes long."""
        assert self._executor is not None
        if isinstance(message, Job):
            self._job, weights = message, message.config.backbone.weights
            own_path = {"backbone.weights": self._weights.get(weights, weights)}
            self._executor.submit(replace(message, config=with_values(message.config, own_path)))
        elif message is not None:
            assert self._job is not None
            self._executor.answer(self._job.number, keep_on=message)
        deadline = time.monotonic() + _PATIENCE
        events: Sequence[Event] = ()
        while not events and (left := deadline - time.monotonic()) > 0:
            events = self._executor.wait(left)
        return [self._with_config_of_job(event) for event in events]

    def _with_config_of_job(self, event: Event) -> Event:
        """Return the event with the path that the weights have on the tuner's machine."""
        if isinstance(event, Finished) and self._weights:
            assert self._job is not None
            return replace(event, result=replace(event.result, config=self._job.config))
        return event

    def close(self) -> None:
        """End the worker."""
        if self._executor is not None:
            self._executor.__exit__()
