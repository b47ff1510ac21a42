"""What a score costs: seconds of training against validation, and the trials that no other one beats in both."""

from typing import NamedTuple

import pandas as pd

from study.analysis.depth import NO_TRIALS
from study.analysis.estimators.intervals import Estimate, Withheld, bootstrap_median, proportion


class CostPoint(NamedTuple):
    """One completed trial."""

    trial: int
    depth: int
    seconds: float
    """Wall time of the whole training, evaluation included."""
    score: float
    """Validation score at the best step, in the study's metric."""
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
    """Share of their epochs that found what the frozen blocks make of their views in the cache."""
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
    """Hold the validation scores of completed trials against the seconds that they took.

    Valid as a description of these runs. Seconds depend on the machine, on what else it did, and on what earlier trials
    left in the cache; scores are the best of several epochs, and the front picks the best of many trials, so its scores
    are optimistic. Of trials equal in both only the earliest is on the front.

    Args:
        complete: the trials that ran to their end (``StudyResults.complete``).
        epochs: one row per trial and step.
        n_validation: validation images.
        one_backbone: those of them whose depths compare; None for all.
    """
    timed = complete[complete["seconds"].notna()]
    if complete.empty:
        return NO_TRIALS
    if len(timed) < len(complete):
        return Withheld(f"{len(complete) - len(timed)} of {len(complete)} completed trials say no seconds")
    ordered = timed.assign(score=timed["score"].astype(float)).sort_values(
        ["seconds", "score", "number"], ascending=[True, False, True]
    )
    alike = timed if one_backbone is None else one_backbone
    leads = ordered["score"] > ordered["score"].cummax().shift(fill_value=float("-inf"))
    points = tuple(_point(row, n_validation) for row in ordered.to_dict("records"))
    return Cost(
        n=len(points),
        seconds=float(timed["seconds"].sum()),
        cached=float(epochs.loc[epochs["trial"].isin(timed["number"]), "cached"].mean()),
        devices=tuple(sorted(timed["device"].dropna().unique())),
        points=points,
        front=tuple(point for point, leading in zip(points, leads, strict=True) if leading),
        by_depth=tuple(
            DepthCost(int(str(depth)), len(group), bootstrap_median(group["seconds"].astype(float)))
            for depth, group in alike.groupby("depth")
        ),
    )


def _point(row: dict[object, float], n_validation: int) -> CostPoint:
    return CostPoint(
        trial=int(row["number"]),
        depth=int(row["depth"]),
        seconds=float(row["seconds"]),
        score=float(row["score"]),
        accuracy=proportion(round(row["val_accuracy_best"] * n_validation), n_validation),
    )
