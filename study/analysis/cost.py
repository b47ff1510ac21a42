"""Seconds of training against validation scores, and the Pareto front of the two."""

from typing import NamedTuple

import pandas as pd

from study.analysis.depth import NO_TRIALS, accuracy_estimate
from study.analysis.estimators.intervals import Estimate, Withheld, bootstrap_median


class CostPoint(NamedTuple):
    """One completed trial."""

    trial: int
    depth: int
    seconds: float
    """Wall time of the whole training, evaluation included."""
    score: float
    """Validation score at the best epoch, in the study's metric."""
    accuracy: Estimate
    """Validation accuracy there, with Wilson's interval over the validation images."""


class DepthCost(NamedTuple):
    """The completed trials of one depth."""

    depth: int
    n: int
    seconds: Estimate
    """Median seconds of a trial, percentile bootstrap over trials."""


class Cost(NamedTuple):
    """Seconds and scores of the completed trials."""

    n: int
    seconds: float
    """Of all completed trials together."""
    cached: float
    """Share of their epochs whose activations of the frozen blocks came from the cache."""
    devices: tuple[str, ...]
    """Where they ran."""
    points: tuple[CostPoint, ...]
    """All of them, by seconds."""
    front: tuple[CostPoint, ...]
    """The Pareto front: no other trial was at least as quick and at least as good, and better in one of the two."""
    by_depth: tuple[DepthCost, ...]
    """Of the best trial's backbone, where there are several."""


def cost(
    complete: pd.DataFrame, epochs: pd.DataFrame, n_validation: int, one_backbone: pd.DataFrame | None = None
) -> Cost | Withheld:
    """Compare the validation scores of completed trials with the seconds that they took.

    Valid as a description of these runs. Seconds depend on the machine, on its other load, and on what earlier trials
    left in the cache; scores are the best of several epochs, and the front picks the best of many trials, so its scores
    are optimistic. Of trials equal in both only the earliest is on the front. The median seconds of a depth have an
    interval from five trials on. Withheld without a completed trial, or where one of them has no seconds.

    Args:
        complete: the trials that ran to their end (``StudyResults.complete``).
        epochs: one row per trial and epoch.
        n_validation: validation images.
        one_backbone: those of them whose depths compare; None for all.
    """
    timed = complete[complete["seconds"].notna()]
    if complete.empty:
        return NO_TRIALS
    if len(timed) < len(complete):
        return Withheld(f"{len(complete) - len(timed)} of {len(complete)} completed trials have no seconds")
    ordered = timed.assign(score=timed["score"].astype(float)).sort_values(
        ["seconds", "score", "number"], ascending=[True, False, True]
    )
    leads = ordered["score"] > ordered["score"].cummax().shift(fill_value=float("-inf"))
    points = tuple(
        CostPoint(int(trial), int(depth), float(seconds), float(score), accuracy_estimate(accuracy, n_validation))
        for trial, depth, seconds, score, accuracy in zip(
            *(ordered[column] for column in ("number", "depth", "seconds", "score", "val_accuracy_best")), strict=True
        )
    )
    comparable = timed if one_backbone is None else one_backbone
    return Cost(
        n=len(points),
        seconds=float(timed["seconds"].sum()),
        cached=float(epochs.loc[epochs["trial"].isin(timed["number"]), "cached"].mean()),
        devices=tuple(sorted(timed["device"].dropna().unique())),
        points=points,
        front=tuple(point for point, leading in zip(points, leads, strict=True) if leading),
        by_depth=tuple(
            DepthCost(int(str(depth)), len(group), bootstrap_median(group["seconds"].astype(float)))
            for depth, group in comparable.groupby("depth")
        ),
    )
