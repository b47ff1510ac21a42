"""When a run of a study ends, and how it ended."""

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
    """Number of best trials whose checkpoints are kept."""
    trial_seconds: float | None = None
    """Wall time after which a trial counts as hung and is ended; None for no limit."""
    failure_limit: float = 0.5
    """The run ends when more than this share of the latest trials failed."""
    stop_when_noise: bool = False
    """Whether the run ends when further trials could only add noise (``study.tuner.noise_stopper``)."""
    queued_only: bool = False
    """Run only queued trials; the sampler is not used."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended."""

    ended: Ended
    progress: StudyProgress
    seconds: float
    requeued: int = 0
    """Trials that were stopped and queued again."""
    reason: str = ""
    """The most frequent failure when failures ended the run, or why further trials could only add noise."""

    @property
    def standing(self) -> StudyProgress:
        """``progress``, by its name in version 0.1."""
        return self.progress
