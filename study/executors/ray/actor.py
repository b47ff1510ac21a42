"""One slot on some node of a Ray cluster: an actor that keeps a local executor with one worker.

The training runs in that worker and not in the actor: whatever happens to it, the actor sees how it ended, starts its
successor, and can still be talked to. Threads, memory settings, output and deafness to Ctrl-C are the local executor's.
"""

import os
import socket
import sys
import tempfile
import time
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
"""Seconds that an actor waits for events before it looks for other instructions."""


@dataclass(frozen=True, slots=True)
class ActorInfo:
    """Where an actor found itself."""

    node: str
    """Ray's id of the node."""
    name: str
    """The slot's name for people."""
    missing: tuple[int, ...]
    """Files that the node lacks, by their place in the list of supplies."""


class WorkerActor:
    """The actor. It does one thing at a time, and nothing for longer than it takes to ask again."""

    def __init__(self, index: int, supplies: ShippedFiles, scratch: str | None) -> None:
        """Look around.

        Args:
            index: number of the slot.
            supplies: what the trainings will need.
            scratch: folder for what is temporary; None for the system's.
        """
        tempfile.tempdir = scratch
        _have_no_main()
        self._supplies = supplies
        self._node = ray.get_runtime_context().get_node_id()
        self._name = f"ray-{socket.gethostname()}-{self._node[:6]}-{index}"
        self._executor: LocalExecutor | None = None
        self._asked: Job | None = None
        self._weights: dict[str, str] = {}

    def arrive(self, cache_dir: Path | None) -> ActorInfo:
        """Say where this is and what is missing here."""
        files = self._supplies.files
        missing = tuple(index for index, supply in enumerate(files) if find(supply, cache_dir) is None)
        return ActorInfo(self._node, self._name, missing)

    def open(self, workload: Workload, threads: int, log: Path | None, *contents: bytes) -> None:
        """Keep the files that were missing, in their order, and start the worker."""
        missing = [supply for supply in self._supplies.files if find(supply, workload.cache_dir) is None]
        for supply, content in zip(missing, contents, strict=False):  # another actor may have kept some by now
            keep(supply, content, workload.cache_dir)
        self._weights = {name: str(find(supply, workload.cache_dir)) for name, supply in self._supplies.weights.items()}
        gpu = os.environ["CUDA_VISIBLE_DEVICES"] if ray.get_gpu_ids() else None
        self._executor = LocalExecutor(workload, [Slot(self._name, gpu, threads)], log).__enter__()

    def listen(self, message: Job | bool | None) -> Sequence[Event]:
        """Take a job, or the answer to a report; return what comes next, nothing if that takes long."""
        assert self._executor is not None
        if isinstance(message, Job):
            self._asked = message
            self._executor.submit(self._with_own_weights(message))
        elif message is not None:
            assert self._asked is not None
            self._executor.answer(self._asked.number, keep_on=message)
        deadline = time.monotonic() + _PATIENCE
        events: Sequence[Event] = ()
        while not events and (left := deadline - time.monotonic()) > 0:
            events = self._executor.wait(left)
        return [self._with_weights_as_asked(event) for event in events]

    def close(self) -> None:
        """End the worker."""
        if self._executor is not None:
            self._executor.__exit__()

    def _with_own_weights(self, job: Job) -> Job:
        named = job.config.backbone.weights
        return replace(job, config=with_values(job.config, {"backbone.weights": self._weights.get(named, named)}))

    def _with_weights_as_asked(self, event: Event) -> Event:
        if isinstance(event, Finished) and self._weights:
            assert self._asked is not None
            return replace(event, result=replace(event.result, config=self._asked.config))
        return event


def _have_no_main() -> None:
    """Let what multiprocessing starts here not import Ray's own main module first, as it does with a script."""
    main = sys.modules["__main__"]
    main.__spec__ = None
    main.__file__ = None
