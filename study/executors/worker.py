"""A worker process: it prepares once, then runs the jobs that come through its pipe.

The tuner makes all decisions. A worker ends when it receives ``None``, when the pipe closes, or with the tuner's
process.
"""

import importlib
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from drft.config.trial_config import TrialConfig
from drft.errors import DrftError, TrainingError, UsageError, one_line
from drft.training.records import EpochRecord, TrialResult
from study.executors.base import Failed, Finished, Job, Kind, Reported, Started, Workload

_LONGEST_REASON = 500
"""Characters of a reason, which is one line for the user; the traceback has the rest."""

OnEpoch = Callable[[EpochRecord], bool]
Trainer = Callable[[TrialConfig, OnEpoch], TrialResult]


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """The name and the device of a worker, both for the user, and the file for its output."""

    worker: str
    device: str
    log: Path | None


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is ready for its first job."""


@dataclass(frozen=True, slots=True)
class CannotStart:
    """The worker could not prepare; another one could not either."""

    faults: tuple[str, ...]
    usage: bool
    """Whether the user can fix it."""


def main(pipe: Connection, workload: Workload, context: WorkerContext) -> None:
    """Run jobs until ``None`` comes or the pipe closes."""
    # Output of libraries, C code included, goes to a file: the terminal belongs to the tuner.
    log = os.open(context.log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    module, _, function = workload.trainer.partition(":")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        fault = f"trainer {workload.trainer}: {one_line(error)} (PYTHONPATH names the folders of your own modules)"
        pipe.send(CannotStart((fault,), usage=True))
        return
    try:
        trainer: Trainer = make(workload)
    except Exception as error:  # noqa: BLE001 (the tuner ends the study with it)
        traceback.print_exc()
        pipe.send(CannotStart(_faults(error), isinstance(error, UsageError)))
        return
    pipe.send(Ready())
    try:
        while (job := pipe.recv()) is not None:
            pipe.send(Started(job.number, context.worker, context.device))
            event = _train(job, trainer, pipe)
            pipe.send(event)
            if isinstance(event, Failed) and event.kind == "lost":
                return
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _train(job: Job, trainer: Trainer, pipe: Connection) -> Finished | Failed:
    def report(record: EpochRecord) -> bool:
        pipe.send(Reported(job.number, record))
        return bool(pipe.recv())

    try:
        return Finished(job.number, trainer(job.config, report))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # noqa: BLE001 (a trial may fail in any way; the worker continues)
        reason = _printable("; ".join(_faults(error)))
        if len(reason) > _LONGEST_REASON:
            reason = f"{reason[:_LONGEST_REASON]} ..."
        return Failed(job.number, reason, _printable(traceback.format_exc()), _kind(error))


def _kind(error: Exception) -> Kind:
    # By name, since torch is not imported here. NumPy's own error is a MemoryError.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory"
    if type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error):
        return "lost"  # every later call of this process to its GPU would fail; a successor starts with a new context
    return "diverged" if isinstance(error, TrainingError) else "error"


def _printable(text: str) -> str:
    """Escape lone surrogates, which stand for bytes of file names outside UTF-8 and cannot be written to files."""
    return text.encode(errors="backslashreplace").decode()


def _faults(error: Exception) -> tuple[str, ...]:
    if isinstance(error, DrftError):
        return tuple(str(error).splitlines())
    lines = str(error).strip().splitlines()
    return (f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__,)
