"""How far a study is: trials by state, and the best of them."""

import bisect
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from optuna.trial import FrozenTrial, TrialState

from drft.config.trial_config import Metric

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
"""The states that count towards the wanted number of trials."""


class RankedTrial(NamedTuple):
    """A trial that ran to its end, and its value."""

    number: int
    value: float
    feasible: bool = True
    """Whether it keeps the study's constraint on the gap, if there is one."""

    @property
    def place(self) -> tuple[bool, float, int]:
        """What trials are ranked by: feasible ones first, then by value, the earlier one on ties."""
        return not self.feasible, -self.value, self.number


class BestCertainty(NamedTuple):
    """How sure the best trial's accuracy is."""

    low: float
    """Wilson's 95 % interval over the validation images."""
    high: float
    alike: int
    """Trials that cannot be told from the best one, itself included."""
    of: int
    """Trials that ran to their end."""


class StudyProgress(NamedTuple):
    """How many trials are in which state. ``interrupted`` ones were stopped with their driver and queued again."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    interrupted: int = 0
    running: int = 0
    waiting: int = 0
    best: RankedTrial | None = None
    """Of the feasible ones."""
    infeasible: int = 0
    """Trials that ran to their end with a gap above the study's limit."""
    certainty: BestCertainty | None = None
    metric: Metric = "accuracy"
    """What the best trial's value is the score of."""

    @property
    def finished(self) -> int:
        """Trials that count towards the wanted number."""
        return self.complete + self.pruned


class ProgressCounts:
    """Counts finished trials one by one, so that a standing costs the same however many there are."""

    def __init__(self) -> None:
        self.ranking: list[RankedTrial] = []
        """The trials that ran to their end, best first, those that are not feasible behind the others."""
        self._states: Counter[TrialState] = Counter()
        self._requeued = 0

    @property
    def finished(self) -> int:
        """Trials that count towards the wanted number."""
        return sum(self._states[state] for state in FINISHED)

    def add(self, trial: FrozenTrial) -> None:
        """Take a trial into account that is finished."""
        self._states[trial.state] += 1
        self._requeued += trial.state == TrialState.FAIL and "requeued" in trial.user_attrs
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            bisect.insort(
                self.ranking, RankedTrial(trial.number, trial.value, is_feasible(trial)), key=lambda one: one.place
            )

    def progress(self, unfinished: Iterable[FrozenTrial]) -> StudyProgress:
        """Return how the study stands with these trials beside the finished ones."""
        unended = Counter(trial.state for trial in unfinished)
        return StudyProgress(
            complete=self._states[TrialState.COMPLETE],
            pruned=self._states[TrialState.PRUNED],
            failed=self._states[TrialState.FAIL] - self._requeued,
            interrupted=self._requeued,
            running=unended[TrialState.RUNNING],
            waiting=unended[TrialState.WAITING],
            best=self.ranking[0] if self.ranking and self.ranking[0].feasible else None,
            infeasible=sum(not one.feasible for one in self.ranking),
        )


def is_feasible(trial: FrozenTrial) -> bool:
    """Return whether a finished trial keeps all constraints; one without any does."""
    return all(value <= 0 for value in trial.constraints.values())


def count(trials: Iterable[FrozenTrial]) -> StudyProgress:
    """Count trials by state and find the best one."""
    tally, unfinished = ProgressCounts(), []
    for trial in trials:
        if trial.state.is_finished():
            tally.add(trial)
        else:
            unfinished.append(trial)
    return tally.progress(unfinished)
