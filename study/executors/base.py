"""What an executor is: it runs trainings somewhere and knows nothing of Optuna.

The driver submits jobs, waits for events and answers every reported epoch with *keep on* or *stop*.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

from drft.config.trial_config import TrialConfig
from drft.data.dataset import ImageDataset
from drft.training.records import EpochRecord, TrialResult


@dataclass(frozen=True, slots=True)
class Workload:
    """What every worker needs before its first job; small and picklable."""

    source: str
    """Data source, as ``drft.data.open_dataset`` takes it."""
    source_options: tuple[tuple[str, str], ...] = ()
    """Options of the source (``labels``, ``image_column`` ...), as sorted pairs."""
    cache_dir: Path | None = None
    """Where decoded and rendered images are kept; None for the user's cache folder."""
    cache_size: int | None = None
    """Bytes that activations may take on the disk; None for a share of what is free, 0 keeps none."""
    workers: int = 1
    """Worker processes that share a machine, and its memory."""
    trials_per_gpu: int = 1
    """Worker processes that share a GPU, and its memory."""
    networks: int = 1
    """Backbones that trials can have; a worker keeps them ready."""
    dataset: ImageDataset | None = None
    """The data set itself, for workers that cannot open the source; its images are in their cache, decoded."""
    trainer: str = "study.executors.objective:two_phase_trainer"
    """``module:function`` that a worker calls once with this workload; what it returns runs one training."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training to run."""

    number: int
    """Optuna's trial number."""
    config: TrialConfig


@dataclass(frozen=True, slots=True)
class Started:
    """A worker took the job."""

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
    """The training ended by itself or was told to stop."""

    number: int
    result: TrialResult


Kind = Literal["error", "memory", "diverged", "lost"]
"""How a training fails: by an exception, for lack of memory, by numbers that are none, or with its worker or node."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The training went wrong; the worker (or its successor) is ready for the next job."""

    number: int
    reason: str
    """One line for the user."""
    traceback: str = ""
    kind: Kind = "error"


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A slot serves no more, and the others do; a job that was on it has failed."""

    worker: str
    reason: str


Event = Started | Reported | Finished | Failed | WorkerLost


class Executor(Protocol):
    """Runs jobs on slots. A context manager: leaving it ends all workers, busy ones at once."""

    @property
    def slots(self) -> int:
        """How many jobs can run at once."""

    def submit(self, job: Job) -> None:
        """Give a job to a free slot. At most ``slots`` jobs may be under way."""

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """Return the events there are, waiting up to ``timeout`` seconds for the first."""

    def answer(self, number: int, *, keep_on: bool) -> None:
        """Answer the last ``Reported`` of a job."""

    def kill(self, number: int) -> None:
        """End the worker of a job in whatever it does; ``Failed`` follows, unless the job has just ended by itself."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...
