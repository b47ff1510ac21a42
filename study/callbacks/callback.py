"""What a driver tells whoever shows its run."""

from typing import Protocol

from drft.training.records import EpochRecord, TrialResult
from study.executors.base import Job, Started
from study.results.progress import StudyProgress


class Callback(Protocol):
    """Shows a run to the user."""

    def begin(self, progress: StudyProgress, goal: int) -> None:
        """The first trial is about to start."""

    def started(self, job: Job, event: Started) -> None:
        """A worker took a job."""

    def epoch(self, job: Job, record: EpochRecord) -> None:
        """A trial ended an epoch."""

    def ended(self, job: Job, outcome: TrialResult | str, progress: StudyProgress) -> None:
        """A trial finished with a result, or failed with a reason."""

    def notice(self, line: str) -> None:
        """Something happened that the user should know."""

    def end(self) -> None:
        """No more will come."""
