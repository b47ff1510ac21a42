"""The Ray executor: slots that Ray places on the nodes of a cluster.

Each slot is an actor with a worker process of its own (:mod:`study.executors.ray.actor`). The tuner calls it for the
next events, and passes the answer to a report with the next call, so no epoch starts before the last one was answered.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

from drft.errors import DrftError, UsageError
from study.executors.base import Event, Failed, Finished, Job, Reported, Started, WorkerLost, Workload
from study.executors.ray.actor import ActorInfo, WorkerActor
from study.executors.ray.cluster import Cluster
from study.executors.ray.files import ShippedFiles
from study.executors.resources import thread_limit

_GRACE = 5.0
"""Seconds that actors have to end their workers."""

_FAILED_STARTS = 3
"""An actor that dies this often before it is ready is given up."""

_LOST_STARTS = 3
"""A job that is lost more often than this before it starts has failed."""

_GROWTH_SECONDS = 5.0
"""Seconds between two searches for new nodes."""


class RayExecutor:
    """Runs jobs on actors of a Ray cluster.

    A job that has not started when its actor is lost goes to the first free slot. A lost actor gets a successor, which
    Ray places where there is room; until there is, the other slots continue.
    """

    def __init__(
        self,
        workload: Workload,
        cluster: Cluster,
        *,
        jobs: int | None = None,
        shipped: ShippedFiles = ShippedFiles(),  # noqa: B008 (frozen)
        log: Path | None = None,
    ) -> None:
        """Prepare; the actors start with the ``with`` block.

        Args:
            workload: what every worker needs.
            cluster: the cluster to use.
            jobs: number of slots; by default what fits on the nodes, and more when nodes join.
            shipped: files that nodes may lack.
            log: file for the output of workers on this machine; the output of others is discarded.
        """
        gpus = cluster.share.gpus
        per_gpu = int(1 / gpus + 1e-9) if 0 < gpus < 1 else 1
        self.workload = replace(workload, dataset=shipped.dataset, trials_per_gpu=per_gpu)
        self.any_ready = False
        """Whether an actor was ever ready. If so, the workload works, and actors that die early may be unlucky."""
        self._cluster = cluster
        self._grows = jobs is None
        self._shipped = shipped
        self._log = log
        self._contents: dict[int, Any] = {}
        self._slots = [_RaySlot(self, index) for index in range(jobs or max(1, cluster.capacity()))]
        self._waiting: deque[Job] = deque()
        self._events: list[Event] = []
        self._retired = 0
        self._lost_starts: dict[int, int] = {}
        self._grown = time.monotonic()

    @property
    def slots(self) -> int:
        """How many jobs can run at once."""
        return len(self._slots)

    def submit(self, job: Job) -> None:
        """Give a job to a free actor, as soon as one is ready."""
        self._waiting.append(job)
        self._distribute()

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """Return all events, after waiting up to ``timeout`` seconds for the first.

        Raises:
            UsageError: when a worker cannot start, for a reason that the user can fix.
            DrftError: when a worker cannot start.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._events:
            self._grow()
            left = _GROWTH_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
            calls = {slot.call: slot for slot in self._slots if slot.call is not None}
            if not calls:
                break  # no actor has anything to do
            returned, _ = ray.wait(list(calls), num_returns=1, timeout=min(left, _GROWTH_SECONDS))
            more, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
            for call in dict.fromkeys([*returned, *more]):
                self._events += calls[call].receive()
            self._distribute()
            if not returned and deadline is not None and time.monotonic() >= deadline:
                break
        events, self._events = self._events, []
        return events

    def answer(self, number: int, *, keep_on: bool) -> None:
        """Answer the last report of a job."""
        next(slot for slot in self._slots if slot.job and slot.job.number == number).send(keep_on)

    def kill(self, number: int) -> None:
        """Kill the actor of a job with its worker; a successor takes the slot."""
        for job in [job for job in self._waiting if job.number == number]:
            self._waiting.remove(job)
            self._events.append(Failed(number, "killed before it began", kind="lost"))
        for slot in self._slots:
            if slot.job and slot.job.number == number:
                slot.kill()

    def contents(self, indices: Sequence[int]) -> list[Any]:
        """Return files of the tuner's machine; each is put into the object store once."""
        for index in indices:
            if index not in self._contents:
                self._contents[index] = ray.put(np.fromfile(self._shipped.files[index].file, np.uint8))
        return [self._contents[index] for index in indices]

    def create_actor(self, index: int) -> Any:
        """Create the actor of a slot where Ray finds room for it."""
        share = self._cluster.share
        actor: Any = ray.remote(WorkerActor)
        return actor.options(
            num_cpus=share.cpus, num_gpus=share.gpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        ).remote(index, self._shipped, self._cluster.scratch)

    def conditions(self, node: str) -> tuple[Workload, int, Path | None]:
        """Return workload, threads and log file of a worker on a node."""
        here = node == ray.get_runtime_context().get_node_id()
        workload = replace(self.workload, workers=min(self._cluster.fits_on(node), len(self._slots)))
        return workload, thread_limit(int(self._cluster.share.cpus)), self._log if here else None

    def retry(self, job: Job, reason: str) -> list[Event]:
        """Queue a job again that was lost before it started, unless it was lost too often."""
        self._lost_starts[job.number] = self._lost_starts.get(job.number, 0) + 1
        if self._lost_starts[job.number] > _LOST_STARTS:
            return [Failed(job.number, reason, kind="lost")]
        self._waiting.appendleft(job)
        return []

    def can_spare(self, slot: "_RaySlot") -> bool:
        """Return whether the study can continue without a slot."""
        return self.any_ready and any(other is not slot for other in self._slots)

    def retire(self, slot: "_RaySlot") -> None:
        """Continue without a slot whose actor cannot start again."""
        self._slots.remove(slot)
        self._retired += 1

    def _distribute(self) -> None:
        for slot in self._slots:
            if self._waiting and slot.ready and slot.job is None:
                slot.submit(self._waiting.popleft())

    def _grow(self) -> None:
        """Add slots for nodes that have joined."""
        if not self._grows or time.monotonic() - self._grown < _GROWTH_SECONDS:
            return
        self._grown = time.monotonic()
        for index in range(len(self._slots) + self._retired, self._cluster.capacity()):
            self._slots.append(_RaySlot(self, index))
            self._slots[-1].start()

    def __enter__(self) -> Self:
        for slot in self._slots:
            slot.start()
        return self

    def __exit__(self, *exc: object) -> None:
        closing = [slot.actor.close.remote() for slot in self._slots if slot.ready]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=_GRACE)
        for slot in self._slots:
            slot.end()


class _RaySlot:
    """One slot: its actor, and the call to it that has not returned yet."""

    def __init__(self, executor: RayExecutor, index: int) -> None:
        self._executor = executor
        self._index = index
        self._failed_starts = 0
        self._receive: Callable[[Any], list[Event]] = self._described
        """Processes the result of the call."""
        self.actor: Any = None
        self.call: Any = None
        self.job: Job | None = None
        self._job_started = self.ready = self._killed = False
        self._name = ""

    def start(self) -> None:
        """Have an actor created, and call it for the files that its node lacks."""
        self.actor = self._executor.create_actor(self._index)
        self.job, self._job_started, self.ready, self._killed = None, False, False, False
        self._name = ""
        self._receive = self._described
        self.call = self.actor.describe.remote(self._executor.workload.cache_dir)

    def submit(self, job: Job) -> None:
        """Give a job to the actor, which is free."""
        self.job, self._job_started, self._killed = job, False, False  # a kill that came too late meant the last job
        self.send(job)

    def send(self, message: Job | bool | None) -> None:
        """Call the actor for the next events, with a job or the answer to a report."""
        self._receive = self._received
        self.call = self.actor.next_events.remote(message)

    def receive(self) -> list[Event]:
        """Process the call, which has returned."""
        call, self.call = self.call, None
        try:
            return self._receive(ray.get(call))
        except RayTaskError as error:
            if isinstance(error.cause, UsageError) or not self._executor.can_spare(self):
                raise _original(error, self._name) from error
            return self._replace(error)  # such as a node whose GPU is gone
        except RayError as error:
            return self._replace(error)

    def kill(self) -> None:
        """Kill the actor during its job."""
        self._killed = True
        ray.kill(self.actor)
        if self.call is None:
            self.send(None)  # raises that the actor is dead

    def end(self) -> None:
        """Kill the actor, if there is one."""
        if self.actor is not None:
            ray.kill(self.actor)

    def _described(self, info: ActorInfo) -> list[Event]:
        self._name = info.name
        contents = self._executor.contents(info.missing)
        self._receive = self._opened
        self.call = self.actor.open.remote(*self._executor.conditions(info.node), *contents)
        return []

    def _opened(self, _: None) -> list[Event]:
        self.ready = self._executor.any_ready = True
        return []

    def _received(self, events: Sequence[Event]) -> list[Event]:
        for event in events:
            if isinstance(event, Started):
                self._job_started, self._failed_starts = True, 0
            if isinstance(event, Finished | Failed):
                self.job = None
        if self.job is not None and not (events and isinstance(events[-1], Reported)):
            self.send(None)
        return list(events)

    def _replace(self, error: RayError) -> list[Event]:
        """Start a successor of a lost actor. A job that had not started goes elsewhere; any other job has failed."""
        self.end()  # it may be alive on a node that cannot be reached
        job, job_started = self.job, self._job_started or self._killed
        reason = f"worker {self._name} {'was killed' if self._killed else 'was lost with its actor or node'}"
        self._failed_starts += not self.ready or isinstance(error, RayTaskError)
        events: list[Event] = []
        if self._failed_starts < _FAILED_STARTS:
            self.start()
        elif self._executor.can_spare(self):
            self._executor.retire(self)
            events.append(WorkerLost(self._name, _last_line(error)))
        else:
            raise DrftError(f"workers cannot start: {_last_line(error)}")
        if job is not None and job_started:
            events.append(Failed(job.number, reason, str(error), kind="lost"))
        elif job is not None:
            events += self._executor.retry(job, reason)
        return events


def _original(error: RayTaskError, name: str) -> Exception:
    """Return the exception of an actor as if it had been raised here."""
    cause = error.cause
    if isinstance(cause, UsageError):
        return type(cause)(cause.faults)
    return DrftError(f"{name or 'a node'}: {cause}" if isinstance(cause, DrftError) else f"{name}: {_last_line(error)}")


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
