"""Jobs that were asked for and wait for a worker of this tuner."""

from collections.abc import Iterable

from optuna.trial import FrozenTrial

from study.executors.base import Job
from study.tuner.runtime_estimate import expected_seconds, past_trainings


class PendingJobs:
    """Jobs in the order in which they are started."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        """Add a job at the end."""
        self._jobs.append(job)

    def sort(self, finished: Iterable[FrozenTrial]) -> None:
        """Put the jobs with the longest expected runtime first, estimated from finished trials."""
        past = past_trainings(finished)
        self._jobs.sort(key=lambda job: -expected_seconds(job.config, past))

    def pop(self) -> Job:
        """Remove and return the first job."""
        return self._jobs.pop(0)
