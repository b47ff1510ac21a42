"""Accuracy, gap and learning curves of each depth."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from study.analysis.estimators.intervals import Estimate, Withheld, mean_estimate, proportion

NO_TRIALS = Withheld("no trial has completed")


class DepthRow(NamedTuple):
    """The completed trials of one depth."""

    depth: int
    depth_fraction: float
    trainable_fraction: float
    n: int
    best: Estimate
    """Validation accuracy of the highest score, with Wilson's interval over the validation images. A maximum: it grows
    with n by chance alone, so depths with unequal n do not compare by it. Where the study limits the gap, of the trials
    within the limit, if the depth has any."""
    best_trial: int
    accuracy: Estimate
    """Mean validation accuracy at the best epoch, over trials."""
    gap_best: Estimate
    """Mean gap at the best epoch, over trials."""
    gap_last: Estimate
    """Mean gap at the last epoch, over trials."""


class Curve(NamedTuple):
    """Quartiles over the completed trials of one depth, one entry per epoch."""

    depth: int
    n: int
    head_steps: int
    """How many epochs belong to the head phase (median over trials)."""
    steps: tuple[int, ...]
    train: tuple[tuple[float, float, float], ...]
    """Lower quartile, median and upper quartile of train accuracy."""
    validation: tuple[tuple[float, float, float], ...]


def depth_table(complete: pd.DataFrame, n_validation: int) -> tuple[DepthRow, ...] | Withheld:
    """Estimate mean accuracy and gap of each depth over its completed trials.

    The gap is train accuracy minus validation accuracy at one epoch, both in evaluation mode on plain images. Means
    carry Student's t interval over trials, from three trials on (:func:`mean_estimate`).

    Valid as a description of the trials that ran. Trials of one depth differ in all other dimensions too, an adaptive
    sampler (TPE) does not draw them evenly, and pruning removed the weaker ones: a difference between depths is no
    effect of depth alone unless the space isolates it. Withheld without a completed trial.
    """
    if complete.empty:
        return NO_TRIALS
    return tuple(_row(int(str(depth)), group, n_validation) for depth, group in complete.groupby("depth"))


def best_trial(trials: pd.DataFrame) -> pd.Series:
    """Return the trial with the highest score, the first on ties; a feasible one where there is any."""
    feasible = trials[trials["feasible"].astype(bool)] if "feasible" in trials else trials
    eligible = trials if feasible.empty else feasible
    return eligible.sort_values(["score", "number"], ascending=[False, True]).iloc[0]


def accuracy_estimate(accuracy: float, n_images: int) -> Estimate:
    """Return a measured accuracy with Wilson's interval over the images that it was measured on."""
    return proportion(round(accuracy * n_images), n_images)


def depth_curves(complete: pd.DataFrame, epochs: pd.DataFrame) -> tuple[Curve, ...] | Withheld:
    """Return median and quartiles of train and validation accuracy at each epoch, by depth.

    Only completed trials count, so that every epoch of a curve shows the same trials and the curve does not rise when
    weak trials are pruned. An epoch that fewer than half of a depth's trials reached is left out. Withheld without a
    completed trial.
    """
    if complete.empty:
        return NO_TRIALS
    curves = epochs.merge(complete[["number", "depth"]], left_on="trial", right_on="number")
    return tuple(_curve(int(str(depth)), group) for depth, group in curves.groupby("depth"))


def _row(depth: int, trials: pd.DataFrame, n_validation: int) -> DepthRow:
    best = best_trial(trials)
    return DepthRow(
        depth=depth,
        depth_fraction=float(best["depth_fraction"]),
        trainable_fraction=float(best["trainable_fraction"]),
        n=len(trials),
        best=accuracy_estimate(best["val_accuracy_best"], n_validation),
        best_trial=int(best["number"]),
        accuracy=mean_estimate(trials["val_accuracy_best"]),
        gap_best=mean_estimate(trials["gap_best"]),
        gap_last=mean_estimate(trials["gap_last"]),
    )


def _curve(depth: int, epochs: pd.DataFrame) -> Curve:
    n = epochs["trial"].nunique()
    reached = epochs["step"].value_counts().sort_index()
    steps = reached.index[2 * reached >= n].tolist()
    head_steps = epochs["phase"].eq("head").groupby(epochs["trial"]).sum()
    return Curve(
        depth=depth,
        n=n,
        head_steps=int(np.median(head_steps)),
        steps=tuple(steps),
        train=_quartiles(epochs, "train_accuracy", steps),
        validation=_quartiles(epochs, "val_accuracy", steps),
    )


def _quartiles(epochs: pd.DataFrame, column: str, steps: list[int]) -> tuple[tuple[float, float, float], ...]:
    quartiles = (np.quantile(epochs.loc[epochs["step"] == step, column], (0.25, 0.5, 0.75)) for step in steps)
    return tuple((float(low), float(middle), float(high)) for low, middle, high in quartiles)
