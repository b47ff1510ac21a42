"""The life of one worker process: get ready once, then train what comes down the pipe.

The driver decides everything; a worker leaves when told, when the pipe closes, or when the driver is gone.
"""

import importlib
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

from drft.config.trial_config import TrialConfig
from drft.errors import DrftError, TrainingError, UsageError
from drft.training.records import EpochRecord, TrialResult
from study.executors.base import Failed, Finished, Job, Kind, Reported, Started, Workload

_LONGEST_REASON = 500
"""Characters of a reason, which is one line for the user; the traceback says it all."""

OnEpoch = Callable[[EpochRecord], bool]
Trainer = Callable[[TrialConfig, OnEpoch], TrialResult]


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Where a worker works: its name and device, both for people, and the file for whatever it prints."""

    worker: str
    device: str
    log: Path | None


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is ready for its first job."""


@dataclass(frozen=True, slots=True)
class CannotStart:
    """The worker could not get ready, and neither would another one."""

    faults: tuple[str, ...]
    usage: bool
    """Whether it is the user who can mend it."""


def main(pipe: Connection, workload: Workload, post: WorkerContext) -> None:
    """Serve jobs until the driver says ``None`` or closes the pipe."""
    _turn_output_to(post.log)
    try:
        trainer = _get_ready(workload)
    except Exception as error:  # noqa: BLE001 (told to the driver, which ends the study)
        traceback.print_exc()
        pipe.send(CannotStart(_faults(error), isinstance(error, UsageError)))
        return
    pipe.send(Ready())
    try:
        while (job := pipe.recv()) is not None:
            pipe.send(Started(job.number, post.worker, post.device))
            ended = _train(job, trainer, pipe)
            pipe.send(ended)
            if isinstance(ended, Failed) and ended.kind == "lost":
                return
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _get_ready(workload: Workload) -> Trainer:
    module, _, function = workload.trainer.partition(":")
    return cast("Trainer", getattr(importlib.import_module(module), function)(workload))


def _train(job: Job, trainer: Trainer, pipe: Connection) -> Finished | Failed:
    def report(record: EpochRecord) -> bool:
        pipe.send(Reported(job.number, record))
        return bool(pipe.recv())

    try:
        return Finished(job.number, trainer(job.config, report))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # noqa: BLE001 (a trial may fail in any way; the worker goes on)
        return Failed(job.number, _reason(error), _writable(traceback.format_exc()), _kind(error))


def _kind(error: Exception) -> Kind:
    # By its name, for torch is not imported here; NumPy's own error is a MemoryError.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory"
    if type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error):
        return "lost"  # whatever this process asks of its GPU from now on would fail; its successor starts afresh
    return "diverged" if isinstance(error, TrainingError) else "error"


def _reason(error: Exception) -> str:
    reason = _writable("; ".join(_faults(error)))
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]} ..."


def _writable(text: str) -> str:
    """Escape what no file takes: the halves of characters that stand for bytes of file names which are no UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def _faults(error: Exception) -> tuple[str, ...]:
    if isinstance(error, DrftError):
        return tuple(str(error).splitlines())
    lines = str(error).strip().splitlines()
    return (f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__,)


def _turn_output_to(log: Path | None) -> None:
    """Send what libraries print, C code included, to a file: the terminal belongs to the driver."""
    target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
