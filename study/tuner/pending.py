"""Trials that were asked for and wait for a slot of this driver."""

from collections.abc import Iterable

from optuna.trial import FrozenTrial

from study.executors.base import Job
from study.tuner.runtime_estimate import expected_seconds, ran


class PendingJobs:
    """A few jobs; the one that will take longest comes first."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        """Hold a job."""
        self._jobs.append(job)

    def sort(self, finished: Iterable[FrozenTrial]) -> None:
        """Bring the jobs into the order in which they are to be started, as these trials tell."""
        known = ran(finished)
        self._jobs.sort(key=lambda job: -expected_seconds(job.config, known))

    def next(self) -> Job:
        """Return the first job, which is held no more."""
        return self._jobs.pop(0)
