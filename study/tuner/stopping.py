"""When a run of a study ends, and how one ended."""

from dataclasses import dataclass
from typing import Literal

from study.results.progress import StudyProgress

Ended = Literal["done", "time", "interrupted", "failing", "noise"]


@dataclass(frozen=True, slots=True)
class StoppingCriterion:
    """When a run ends."""

    trials: int
    """Finished trials (COMPLETE and PRUNED) of the study, those of earlier runs included."""
    seconds: float | None = None
    """Wall time of this run; None for no limit."""
    checkpoints: int = 5
    """Checkpoints kept: those of so many best trials."""
    trial_seconds: float | None = None
    """Wall time after which a trial is taken to hang, and ended; None for no limit."""
    failure_limit: float = 0.5
    """A failing fraction of the last trials above this one ends the run."""
    stop_when_noise: bool = False
    """Whether the run ends when further trials could show nothing but noise (``study.tuner.noise_stopper``)."""
    queued_only: bool = False
    """Run what is in the queue, and ask the sampler for nothing more."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended."""

    ended: Ended
    progress: StudyProgress
    seconds: float
    requeued: int = 0
    """Trials that were stopped and will be run again."""
    reason: str = ""
    """The commonest reason of failure, when failures ended the run; why only noise was left, when noise did."""
