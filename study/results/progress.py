"""The progress of a study: trials by state, the best trial and the time left."""

import bisect
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from optuna.trial import FrozenTrial, TrialState

from drft.config.trial_config import Metric

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
"""The states that count towards the wanted number of trials."""


class RankedTrial(NamedTuple):
    """A completed trial and its value."""

    number: int
    value: float
    feasible: bool = True
    """Whether it satisfies the study's limit on the gap, if there is one."""

    @property
    def rank_key(self) -> tuple[bool, float, int]:
        """The sort key of a ranking: feasible trials first, then by value, the earlier trial on ties."""
        return not self.feasible, -self.value, self.number


class BestCertainty(NamedTuple):
    """How certain the best trial's accuracy is."""

    low: float
    """Wilson's 95 % interval over the validation images."""
    high: float
    indistinguishable: int
    """Completed trials that are indistinguishable from the best one, itself included."""
    completed: int
    """Completed trials."""


class StudyProgress(NamedTuple):
    """Number of trials in each state. ``interrupted`` trials were stopped together with their tuner and requeued."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    interrupted: int = 0
    running: int = 0
    waiting: int = 0
    best: RankedTrial | None = None
    """The best feasible trial."""
    infeasible: int = 0
    """Completed trials with a gap above the study's limit."""
    certainty: BestCertainty | None = None
    metric: Metric = "accuracy"
    """The metric of the best trial's value."""

    @property
    def finished(self) -> int:
        """Trials that count towards the wanted number."""
        return self.complete + self.pruned


class ProgressCounts:
    """Running counts of finished trials: the cost of reading them does not grow with the number of trials."""

    def __init__(self) -> None:
        self.ranking: list[RankedTrial] = []
        """The completed trials, best first; infeasible ones last."""
        self._states: Counter[TrialState] = Counter()
        self._requeued = 0

    @property
    def finished(self) -> int:
        """Trials that count towards the wanted number."""
        return sum(self._states[state] for state in FINISHED)

    def add(self, trial: FrozenTrial) -> None:
        """Count a finished trial."""
        self._states[trial.state] += 1
        self._requeued += trial.state == TrialState.FAIL and "requeued" in trial.user_attrs
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            ranked = RankedTrial(trial.number, trial.value, is_feasible(trial))
            bisect.insort(self.ranking, ranked, key=lambda other: other.rank_key)

    def progress(self, unfinished: Iterable[FrozenTrial]) -> StudyProgress:
        """Return the progress of the study, given its unfinished trials."""
        states = Counter(trial.state for trial in unfinished)
        return StudyProgress(
            complete=self._states[TrialState.COMPLETE],
            pruned=self._states[TrialState.PRUNED],
            failed=self._states[TrialState.FAIL] - self._requeued,
            interrupted=self._requeued,
            running=states[TrialState.RUNNING],
            waiting=states[TrialState.WAITING],
            best=self.ranking[0] if self.ranking and self.ranking[0].feasible else None,
            infeasible=sum(not ranked.feasible for ranked in self.ranking),
        )


def is_feasible(trial: FrozenTrial) -> bool:
    """Return whether a finished trial satisfies all constraints; true for a trial without any."""
    return all(value <= 0 for value in trial.constraints.values())


def count(trials: Iterable[FrozenTrial]) -> StudyProgress:
    """Count trials by state and find the best one."""
    counts, trials = ProgressCounts(), list(trials)
    for trial in trials:
        if trial.state.is_finished():
            counts.add(trial)
    return counts.progress(trial for trial in trials if not trial.state.is_finished())


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 trial``, ``2 trials``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def time_left(seconds: float | None) -> str:
    """Return the remaining time as text: ``1 h 5 min left``; None means unknown."""
    if seconds is None:
        return "time left unknown"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min left"
    return f"{minutes} min {rest} s left" if minutes else f"{rest} s left"
