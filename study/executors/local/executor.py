"""The local executor: one worker process on this machine for each slot. Processes stay ready between jobs."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

from drft.errors import DrftError, UsageError
from study.executors.base import Event, Failed, Finished, Job, Started, WorkerLost, Workload
from study.executors.local.process import CONTEXT, describe_exit, start
from study.executors.resources import Slot
from study.executors.worker import CannotStart, Ready, WorkerContext, main

_GRACE = 5.0
"""Seconds that an idle worker has to end by itself."""

_FAILED_STARTS = 3
"""A worker that dies this often before it starts a job is given up."""


class LocalExecutor:
    """Runs jobs in worker processes on this machine."""

    def __init__(self, workload: Workload, slots: Sequence[Slot], log: Path | None = None) -> None:
        """Prepare; the workers start with the ``with`` block.

        Args:
            workload: what every worker needs.
            slots: one worker runs on each.
            log: file for the output of the workers; None discards it.
        """
        self._workers = [_LocalWorker(slot, workload, log) for slot in slots]
        self._retired: list[_LocalWorker] = []
        self._any_ready = False
        """Whether a worker was ever ready. If so, the workload works, and workers that die early may be unlucky."""

    @property
    def slots(self) -> int:
        """How many jobs can run at once."""
        return len(self._workers)

    def submit(self, job: Job) -> None:
        """Give a job to a free worker."""
        next(worker for worker in self._workers if worker.job is None).submit(job)

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """Return all events, after waiting up to ``timeout`` seconds for the first.

        Raises:
            UsageError: when no worker can start, for a reason that the user can fix.
            DrftError: when no worker can start.
        """
        readable = wait([worker.pipe for worker in self._workers], timeout)
        return [event for worker in self._workers if worker.pipe in readable for event in self._receive(worker)]

    def answer(self, number: int, *, keep_on: bool) -> None:
        """Answer the last report of a job."""
        next(worker for worker in self._workers if worker.job and worker.job.number == number).send(keep_on)

    def kill(self, number: int) -> None:
        """Kill the worker of a job; a successor takes its slot."""
        for worker in self._workers:
            if worker.job and worker.job.number == number:
                worker.kill()

    def _receive(self, worker: "_LocalWorker") -> Iterator[Event]:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        match message:
            case Ready():
                worker.ready = self._any_ready = True
            case CannotStart(faults, usage):
                if usage:
                    raise UsageError(faults)
                yield from self._retire(worker, "; ".join(faults))
            case _:
                if isinstance(message, Started):
                    worker.job_started, worker.failed_starts = True, 0
                if isinstance(message, Finished | Failed):
                    worker.job = None
                if isinstance(message, Failed) and message.kind == "lost":
                    worker.ready = False  # it is about to end; the next job is for its successor
                yield message

    def _replace(self, worker: "_LocalWorker") -> Iterator[Event]:
        """Start a successor of a dead worker. It takes over a job that had not started; any other job has failed."""
        job, job_started, reason = worker.job, worker.job_started, worker.join()
        worker.failed_starts += not worker.ready or (job is not None and not job_started)
        if worker.failed_starts >= _FAILED_STARTS:
            yield from self._retire(worker, reason)
            return
        worker.start()
        if job is not None and job_started:
            yield Failed(job.number, reason, kind="lost")
        elif job is not None:
            worker.submit(job)

    def _retire(self, worker: "_LocalWorker", reason: str) -> Iterator[Event]:
        """Continue without a slot, such as one on a broken GPU, if others are left and the workload works."""
        self._workers.remove(worker)
        if not (self._any_ready and self._workers):
            raise DrftError(f"workers cannot start: {reason}")
        yield WorkerLost(worker.name, reason)
        if worker.job is not None:
            yield Failed(worker.job.number, reason, kind="lost")
        self._retired.append(worker)

    def __enter__(self) -> Self:
        started: list[_LocalWorker] = []
        try:
            for worker in self._workers:
                worker.start()
                started.append(worker)
        except BaseException:  # Ctrl-C: at its end, Python would wait for workers that still prepare
            for worker in started:
                worker.kill()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self._workers:
            worker.stop()
        deadline = time.monotonic() + _GRACE
        for worker in (*self._workers, *self._retired):
            worker.close(deadline)


class _LocalWorker:
    """The process on a slot and the tuner's end of its pipe."""

    pipe: Connection
    _process: BaseProcess

    def __init__(self, slot: Slot, workload: Workload, log: Path | None) -> None:
        self._slot = slot
        self._workload = workload
        self._context = WorkerContext(slot.name, slot.device, log)
        self.name = slot.name
        self.job: Job | None = None
        self.ready = self.job_started = False
        self.failed_starts = 0

    def start(self) -> None:
        self.pipe, child_end = CONTEXT.Pipe()
        arguments, environment = (child_end, self._workload, self._context), self._slot.environment
        self._process = start(main, *arguments, name=f"drft-{self.name}", environment=environment)
        child_end.close()  # else reading would not end when the worker dies
        self.job, self.ready, self.job_started = None, False, False

    def submit(self, job: Job) -> None:
        self.job, self.job_started = job, False
        self.send(job)

    def send(self, message: object) -> None:
        # The next read of the pipe detects a dead worker; its job fails there.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(message)

    def kill(self) -> None:
        self._process.kill()

    def join(self) -> str:
        """Wait for the process, which has closed its pipe, and return how it ended."""
        self.pipe.close()
        self._process.join(_GRACE)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        return f"the worker process {describe_exit(self._process.exitcode)}"

    def stop(self) -> None:
        """Ask an idle worker to end; terminate a busy one, whose job is abandoned."""
        if self.job is None and self.ready:
            self.send(None)
        else:
            self._process.terminate()

    def close(self, deadline: float) -> None:
        self._process.join(max(0.0, deadline - time.monotonic()))
        self.join()
        self._process.close()
