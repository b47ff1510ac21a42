"""The local executor: warm worker processes on this machine, one per slot."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

from drft.errors import DrftError, UsageError
from study.executors.base import Event, Failed, Finished, Job, Started, WorkerLost, Workload
from study.executors.local.process import CONTEXT, obituary, start
from study.executors.resources import Slot
from study.executors.worker import CannotStart, Ready, WorkerContext, main

_GRACE = 5.0
"""Seconds that an idle worker has to leave by itself."""

_FAILED_STARTS = 3
"""A worker that dies this often before it begins a job will never begin one."""


class LocalExecutor:
    """Runs jobs on warm workers of this machine."""

    def __init__(self, workload: Workload, slots: Sequence[Slot], log: Path | None = None) -> None:
        """Prepare; the workers start with the ``with`` block.

        Args:
            workload: what every worker gets ready with.
            slots: one worker runs on each.
            log: file for whatever workers print; None throws it away.
        """
        self._workers = [_LocalWorker(slot, workload, log) for slot in slots]
        self._retired: list[_LocalWorker] = []
        self._serves = False
        """Whether any worker was ever ready: then those that die before they are may have been unlucky."""

    @property
    def slots(self) -> int:
        """How many jobs can run at once."""
        return len(self._workers)

    def submit(self, job: Job) -> None:
        """Give a job to a free worker."""
        next(worker for worker in self._workers if worker.job is None).give(job)

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """Return the events there are, waiting up to ``timeout`` seconds for the first.

        Raises:
            UsageError: when no worker can get ready, and the user can mend it.
            DrftError: when no worker can get ready.
        """
        speaking = wait([worker.pipe for worker in self._workers], timeout)
        return [event for worker in self._workers if worker.pipe in speaking for event in self._listen(worker)]

    def answer(self, number: int, *, keep_on: bool) -> None:
        """Answer the last report of a job."""
        next(worker for worker in self._workers if worker.job and worker.job.number == number).say(keep_on)

    def kill(self, number: int) -> None:
        """End the worker of a job; its successor takes the slot."""
        for worker in self._workers:
            if worker.job and worker.job.number == number:
                worker.kill()

    def _listen(self, worker: "_LocalWorker") -> Iterator[Event]:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        match message:
            case Ready():
                worker.ready = self._serves = True
            case CannotStart(faults, usage):
                if usage:
                    raise UsageError(faults)
                yield from self._retire(worker, "; ".join(faults))
            case _:
                if isinstance(message, Started):
                    worker.begun, worker.broken_starts = True, 0
                if isinstance(message, Finished | Failed):
                    worker.job = None
                if isinstance(message, Failed) and message.kind == "lost":
                    worker.ready = False  # it is about to leave; what it is given meanwhile is for its successor
                yield message

    def _replace(self, worker: "_LocalWorker") -> Iterator[Event]:
        """Start a successor for a dead worker; it takes over a job that had not begun, else the job failed."""
        job, begun, how = worker.job, worker.begun, worker.bury()
        worker.broken_starts += not worker.ready or (job is not None and not begun)
        if worker.broken_starts >= _FAILED_STARTS:
            yield from self._retire(worker, how)
            return
        worker.start()
        if job is not None and begun:
            yield Failed(job.number, how, kind="lost")
        elif job is not None:
            worker.give(job)

    def _retire(self, worker: "_LocalWorker", why: str) -> Iterator[Event]:
        """Do without a slot, such as one on a GPU that is gone, as long as another one serves or may yet."""
        self._workers.remove(worker)
        if not (self._serves and self._workers):
            raise DrftError(f"workers cannot start: {why}")
        yield WorkerLost(worker.name, why)
        if worker.job is not None:
            yield Failed(worker.job.number, why, kind="lost")
        self._retired.append(worker)

    def __enter__(self) -> Self:
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self._workers:
            worker.dismiss()
        deadline = time.monotonic() + _GRACE
        for worker in (*self._workers, *self._retired):
            worker.see_off(deadline)


class _LocalWorker:
    """One slot's process and the driver's end of its pipe."""

    pipe: Connection
    _process: BaseProcess

    def __init__(self, slot: Slot, workload: Workload, log: Path | None) -> None:
        self._slot = slot
        self._workload = workload
        self._post = WorkerContext(slot.name, slot.device, log)
        self.job: Job | None = None
        self.ready = self.begun = False
        self.broken_starts = 0

    @property
    def name(self) -> str:
        return self._slot.name

    def start(self) -> None:
        name, environment = f"drft-{self._slot.name}", self._slot.environment
        self.pipe, theirs = CONTEXT.Pipe()
        self._process = start(main, theirs, self._workload, self._post, name=name, environment=environment)
        theirs.close()  # or the driver would never see the end of the pipe
        self.job, self.ready, self.begun = None, False, False

    def give(self, job: Job) -> None:
        self.job, self.begun = job, False
        self.say(job)

    def say(self, message: object) -> None:
        # A dead worker is found, and its job failed, when the pipe is read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(message)

    def kill(self) -> None:
        self._process.kill()

    def bury(self) -> str:
        """Clear away the dead process and return how it died."""
        self.pipe.close()
        self._process.join(_GRACE)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        return f"the worker process {obituary(self._process.exitcode)}"

    def dismiss(self) -> None:
        """Ask an idle worker to leave; end a busy one, whose job nobody waits for."""
        if self.job is None and self.ready:
            self.say(None)
        else:
            self._process.terminate()

    def see_off(self, deadline: float) -> None:
        self._process.join(max(0.0, deadline - time.monotonic()))
        self.bury() if self._process.exitcode is None else self.pipe.close()
        self._process.close()
