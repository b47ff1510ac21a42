"""One slot of the Ray executor: the driver's end of an actor, whichever node Ray has placed it on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import ray
from ray.exceptions import RayError, RayTaskError

from drft.errors import DrftError, UsageError
from study.executors.base import Event, Failed, Finished, Job, Reported, Started, WorkerLost, Workload
from study.executors.ray.actor import ActorInfo

_FAILED_STARTS = 3
"""An actor that dies this often before it is ready will never be."""


class SlotOwner(Protocol):
    """What a slot asks of the executor that it belongs to."""

    @property
    def cache_dir(self) -> Path | None:
        """The cache folder on every node; None for the user's."""

    def create(self, index: int) -> Any:
        """Create the actor of a slot."""

    def contents(self, indices: Sequence[int]) -> list[Any]:
        """Return files that a node lacks."""

    def conditions(self, node: str) -> tuple[Workload, int, Path | None]:
        """Return what a worker on a node gets ready with: workload, threads and log."""

    def serves(self) -> None:
        """Take note that a slot is ready."""

    def can_spare(self, post: "RaySlot") -> bool:
        """Return whether another slot serves or may yet."""

    def retire(self, post: "RaySlot") -> None:
        """Do without a slot."""

    def retry(self, job: Job, how: str) -> Failed | None:
        """Give a job that had not begun to another slot, or say that it failed."""


class RaySlot:
    """One slot: its actor, the question that the actor has not answered yet, and what is known of both."""

    def __init__(self, executor: SlotOwner, index: int) -> None:
        self._executor = executor
        self._index = index
        self._failed_starts = 0
        self._actor: Any = None
        self._understand: Callable[[Any], list[Event]] = self._arrived
        self.question: Any = None
        self.job: Job | None = None
        self._begun = self.ready = self._killed = False
        self._name = ""

    @property
    def free(self) -> bool:
        """Whether the actor is ready for a job."""
        return self.ready and self.job is None

    def start(self) -> None:
        """Have an actor created, and ask it what its node lacks."""
        self._actor = self._executor.create(self._index)
        self.job, self._begun, self.ready, self._killed = None, False, False, False
        self._name = ""
        self._understand = self._arrived
        self.question = self._actor.arrive.remote(self._executor.cache_dir)

    def give(self, job: Job) -> None:
        """Give a job to the actor, which is free."""
        self.job, self._begun, self._killed = job, False, False  # a kill that came too late was for the last job
        self.ask(job)

    def ask(self, message: Job | bool | None) -> None:
        """Ask what comes next, with a job or the answer to a report."""
        self._understand = self._heard
        self.question = self._actor.listen.remote(message)

    def hear(self) -> list[Event]:
        """Take the answer to the question."""
        question, self.question = self.question, None
        try:
            return self._understand(ray.get(question))
        except RayTaskError as error:
            if isinstance(error.cause, UsageError) or not self._executor.can_spare(self):
                raise _said(error, self._name) from error
            return self._replace(error)  # such as a node whose GPU is gone
        except RayError as error:
            return self._replace(error)

    def kill(self) -> None:
        """End the actor in the midst of its job."""
        self._killed = True
        ray.kill(self._actor)
        if self.question is None:
            self.ask(None)  # finds it dead

    def dismiss(self) -> Any:
        """Ask the actor to end its worker; return what to wait for."""
        return self._actor.close.remote()

    def end(self) -> None:
        """End the actor, if there is one."""
        if self._actor is not None:
            ray.kill(self._actor)

    def _arrived(self, arrival: ActorInfo) -> list[Event]:
        self._name = arrival.name
        contents = self._executor.contents(arrival.missing)
        self._understand = self._opened
        self.question = self._actor.open.remote(*self._executor.conditions(arrival.node), *contents)
        return []

    def _opened(self, _: None) -> list[Event]:
        self.ready = True
        self._executor.serves()
        return []

    def _heard(self, events: Sequence[Event]) -> list[Event]:
        for event in events:
            if isinstance(event, Started):
                self._begun, self._failed_starts = True, 0
            if isinstance(event, Finished | Failed):
                self.job = None
        if self.job is not None and not (events and isinstance(events[-1], Reported)):
            self.ask(None)
        return list(events)

    def _replace(self, error: RayError) -> list[Event]:
        """Start a successor for a lost actor; its job goes elsewhere if it had not begun, else it failed."""
        self.end()  # it may only be out of reach
        job, begun, how = self.job, self._begun or self._killed, self._obituary()
        self._failed_starts += not self.ready or isinstance(error, RayTaskError)
        events: list[Event] = []
        if self._failed_starts >= _FAILED_STARTS:
            if not self._executor.can_spare(self):
                raise DrftError(f"workers cannot start: {_last_line(error)}")
            self._executor.retire(self)
            events.append(WorkerLost(self._name, _last_line(error)))
        else:
            self.start()
        if job is not None:
            event = Failed(job.number, how, str(error), kind="lost") if begun else self._executor.retry(job, how)
            events += [event] if event else []
        return events

    def _obituary(self) -> str:
        how = "was killed" if self._killed else "was lost with its actor or node"
        return f"worker {self._name} {how}"


def _said(error: RayTaskError, name: str) -> Exception:
    """Return what an actor raised, as if it had been raised here."""
    cause = error.cause
    if isinstance(cause, UsageError):
        return type(cause)(cause.faults)
    return DrftError(f"{name or 'a node'}: {cause}" if isinstance(cause, DrftError) else f"{name}: {_last_line(error)}")


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
