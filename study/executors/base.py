"""The interface between the tuner and the executors, which run trainings and use nothing of Optuna.

The tuner submits jobs, waits for events and answers each reported epoch: the training continues or stops.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

from drft.config.trial_config import TrialConfig
from drft.data.dataset import ImageDataset
from drft.training.records import EpochRecord, TrialResult

TRAINER = "study.executors.objective:two_phase_trainer"
"""The training function that workers call, unless they are given another one."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What every worker needs before its first job; small and picklable."""

    source: str
    """Data source, as ``drft.data.open_dataset`` takes it."""
    source_options: tuple[tuple[str, str], ...] = ()
    """Options of the source (``labels``, ``image_column`` ...), as sorted pairs."""
    cache_dir: Path | None = None
    """Folder of decoded and rendered images; None for the user's cache folder."""
    cache_size: int | None = None
    """Bytes of activations on the disk; None for a share of the free space, 0 for none."""
    workers: int = 1
    """Worker processes that share a machine and its memory."""
    trials_per_gpu: int = 1
    """Worker processes that share a GPU and its memory."""
    networks: int = 1
    """Number of different backbones among the trials; a worker keeps them in memory."""
    dataset: ImageDataset | None = None
    """The data set, for workers that cannot open the source; their cache has its decoded images."""
    trainer: str = TRAINER
    """``module:function``. A worker calls it once with this workload; the result runs one training."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training to run."""

    number: int
    """Optuna's trial number."""
    config: TrialConfig


@dataclass(frozen=True, slots=True)
class Started:
    """A worker started the job."""

    number: int
    worker: str
    device: str


@dataclass(frozen=True, slots=True)
class Reported:
    """An epoch ended; the worker waits for ``answer``."""

    number: int
    record: EpochRecord


@dataclass(frozen=True, slots=True)
class Finished:
    """The training ran to its end, or stopped because of an answer."""

    number: int
    result: TrialResult


Kind = Literal["error", "memory", "diverged", "lost"]
"""Why a training failed: an exception, too little memory, a loss that is not finite, or the loss of its worker."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The training failed; the worker, or its successor, is ready for the next job."""

    number: int
    reason: str
    """One line for the user."""
    traceback: str = ""
    kind: Kind = "error"


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker cannot be started again; the others continue. Its job has failed."""

    worker: str
    reason: str


Event = Started | Reported | Finished | Failed | WorkerLost


class Executor(Protocol):
    """Runs jobs on slots. A context manager: leaving it ends all workers, busy ones at once."""

    @property
    def slots(self) -> int:
        """How many jobs can run at once."""

    def submit(self, job: Job) -> None:
        """Give a job to a free slot. At most ``slots`` jobs may run."""

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """Return all events, after waiting up to ``timeout`` seconds for the first."""

    def answer(self, number: int, *, keep_on: bool) -> None:
        """Answer the last ``Reported`` of a job."""

    def kill(self, number: int) -> None:
        """End the worker of a job at once; ``Failed`` follows, unless the job has just ended by itself."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...
