"""How far training is ahead of validation, in accuracy, loss and kappa, at the best and at the last epoch."""

from typing import NamedTuple

import pandas as pd

from study.analysis.depth import NO_TRIALS
from study.analysis.estimators.grading import NOT_ORDERED
from study.analysis.estimators.intervals import Estimate, Withheld, mean_estimate

MEASURES = ("accuracy", "loss", "qwk")


class MeasureGap(NamedTuple):
    """The gap in one measure, mean over trials; positive where training is ahead."""

    best: Estimate
    """At the best epoch of each trial."""
    last: Estimate
    """At its last epoch."""
    growth: Estimate
    """Last minus best of the same trial."""


class DepthGaps(NamedTuple):
    """The gaps of the completed trials of one depth."""

    depth: int
    n: int
    accuracy: MeasureGap
    """Train accuracy minus validation accuracy."""
    loss: MeasureGap
    """Validation loss minus train loss, in nats (mean cross-entropy, unweighted and without smoothing)."""
    qwk: MeasureGap | Withheld
    """Train minus validation quadratic weighted kappa."""


class Gaps(NamedTuple):
    """The gaps of all completed trials, and of each depth."""

    n: int
    accuracy: MeasureGap
    loss: MeasureGap
    qwk: MeasureGap | Withheld
    by_depth: tuple[DepthGaps, ...]


def trial_gaps(complete: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per completed trial: ``trial``, ``depth``, and each gap, as ``loss_best`` and ``loss_last``.

    Loss gaps are validation minus train, the others train minus validation, so that positive means overfitting in all.
    """
    gaps_by_step = epochs.assign(
        accuracy=epochs["train_accuracy"] - epochs["val_accuracy"],
        loss=epochs["val_loss"] - epochs["train_loss"],
        qwk=epochs["train_qwk"] - epochs["val_qwk"],
    ).set_index(["trial", "step"])
    table = pd.DataFrame({"trial": complete["number"].astype(int), "depth": complete["depth"].astype(int)})
    for moment in ("best", "last"):
        rows = pd.MultiIndex.from_arrays([table["trial"], complete[f"{moment}_step"].astype(int)])
        for measure in MEASURES:
            table[f"{measure}_{moment}"] = gaps_by_step[measure].reindex(rows).to_numpy(dtype=float)
    return table


def gaps(complete: pd.DataFrame, epochs: pd.DataFrame, *, ordinal: bool = True) -> Gaps | Withheld:
    """Estimate the mean gaps over the completed trials, with Student's t interval over trials (three or more).

    Valid as a description of the trials that ran to their end, with the reservations of
    :func:`~study.analysis.depth.depth_table`. The best epoch is where validation happened to score highest, so the gap
    there is optimistic: on new images of the same kind it would be a little wider. Withheld without a completed trial;
    the gap in kappa also where the classes are not ``ordinal``.
    """
    if complete.empty:
        return NO_TRIALS
    table = trial_gaps(complete, epochs)
    by_depth = tuple(
        DepthGaps(int(str(depth)), len(group), *_measures(group, ordinal=ordinal))
        for depth, group in table.groupby("depth")
    )
    return Gaps(len(table), *_measures(table, ordinal=ordinal), by_depth)


def _measures(table: pd.DataFrame, *, ordinal: bool) -> tuple[MeasureGap, MeasureGap, MeasureGap | Withheld]:
    accuracy, loss, qwk = (_measure(table, measure) for measure in MEASURES)
    return accuracy, loss, qwk if ordinal else NOT_ORDERED


def _measure(table: pd.DataFrame, measure: str) -> MeasureGap:
    best, last = table[f"{measure}_best"], table[f"{measure}_last"]
    return MeasureGap(mean_estimate(best), mean_estimate(last), mean_estimate(last - best))
