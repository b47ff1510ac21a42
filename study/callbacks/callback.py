"""What the tuner reports while a study runs."""

from drft.training.records import EpochRecord, TrialResult
from study.executors.base import Job, Started
from study.results.progress import StudyProgress


class Callback:
    """Follows a running study. Every method does nothing here; subclasses override those they need."""

    def on_study_begin(self, progress: StudyProgress, goal: int) -> None:
        """The first trial is about to start; ``goal`` finished trials end the run."""

    def on_trial_begin(self, job: Job, event: Started) -> None:
        """A worker started a trial."""

    def on_epoch(self, job: Job, record: EpochRecord) -> None:
        """A trial finished an epoch."""

    def on_trial_end(self, job: Job, outcome: TrialResult | str, progress: StudyProgress) -> None:
        """A trial ended with a result, or failed with a reason."""

    def on_message(self, line: str) -> None:
        """Something happened that the user should read."""

    def on_study_end(self) -> None:
        """The run is over; nothing else follows."""
