"""How far a study is: trials by state, and the best of them."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from optuna.trial import FrozenTrial, TrialState

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
"""The states that count towards the wanted number of trials."""


class Ranked(NamedTuple):
    """A trial that ran to its end, and its value."""

    number: int
    value: float


class Standing(NamedTuple):
    """How many trials are in which state. ``interrupted`` ones were failed and queued again."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    interrupted: int = 0
    running: int = 0
    waiting: int = 0
    best: Ranked | None = None

    @property
    def finished(self) -> int:
        """Trials that count towards the wanted number."""
        return self.complete + self.pruned


def count(trials: Sequence[FrozenTrial]) -> Standing:
    """Count trials by state and find the best one."""
    states = Counter(trial.state for trial in trials)
    requeued = sum(trial.state == TrialState.FAIL and "requeued" in trial.user_attrs for trial in trials)
    return Standing(
        complete=states[TrialState.COMPLETE],
        pruned=states[TrialState.PRUNED],
        failed=states[TrialState.FAIL] - requeued,
        interrupted=requeued,
        running=states[TrialState.RUNNING],
        waiting=states[TrialState.WAITING],
        best=next(iter(rank(trials)), None),
    )


def rank(trials: Sequence[FrozenTrial]) -> list[Ranked]:
    """Return the trials that ran to their end by value, best first; the earlier one on ties."""
    scored = [Ranked(t.number, t.value) for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    return sorted(scored, key=lambda ranked: (-ranked.value, ranked.number))
