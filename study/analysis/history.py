"""All trials in the order of their numbers, pruned ones included."""

from typing import NamedTuple

import pandas as pd

from study.analysis.estimators.intervals import Withheld


class TrialPoint(NamedTuple):
    """One trial that measured at least one epoch."""

    number: int
    depth: int
    state: str
    accuracy: float
    """Validation accuracy at the best epoch so far; a pruned trial might have risen further."""


def history(trials: pd.DataFrame) -> tuple[TrialPoint, ...] | Withheld:
    """List every completed and pruned trial with its validation accuracy at its best epoch."""
    ended = trials[trials["state"].isin(["COMPLETE", "PRUNED"]) & trials["best_step"].notna()]
    if ended.empty:
        return Withheld("no trial has completed or been pruned")
    columns = ("number", "depth", "state", "val_accuracy_best")
    return tuple(
        TrialPoint(int(number), int(depth), str(state), float(accuracy))
        for number, depth, state, accuracy in zip(*(ended[column] for column in columns), strict=True)
    )
