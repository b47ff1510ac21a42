"""What depth buys and what it costs: accuracy, gap and learning curves of each depth."""

from collections.abc import Iterator
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
    """Validation accuracy of the highest score, with Wilson's interval over the validation images. A maximum:
    it grows with n by luck alone, so depths with unequal n do not compare by it. Where the study limits the gap, of the
    trials within the limit, if the depth has any."""
    best_trial: int
    accuracy: Estimate
    """Mean validation accuracy at the best step, over trials."""
    gap_best: Estimate
    """Mean gap at the best step, over trials."""
    gap_last: Estimate
    """Mean gap at the last step, over trials."""


class Curve(NamedTuple):
    """Quartiles over the completed trials of one depth, one entry per step."""

    depth: int
    n: int
    head_steps: int
    """How many steps belong to the head phase (median over trials)."""
    steps: tuple[int, ...]
    train: tuple[tuple[float, float, float], ...]
    """Lower quartile, median and upper quartile of train accuracy."""
    validation: tuple[tuple[float, float, float], ...]


def depth_table(complete: pd.DataFrame, n_validation: int) -> tuple[DepthRow, ...] | Withheld:
    """Describe each depth by its completed trials.

    The gap is train accuracy minus validation accuracy at one step, both in evaluation mode on plain images.
    Means carry Student's t interval over trials.

    Valid as a description of the trials that ran. Trials of one depth differ in all other dimensions too, an adaptive
    sampler (TPE) does not draw them evenly, and pruning removed the weaker ones: a difference between depths is no
    effect of depth alone unless the space isolates it.
    """
    if complete.empty:
        return NO_TRIALS
    return tuple(_row(depth, group, n_validation) for depth, group in _by_depth(complete))


def depth_curves(complete: pd.DataFrame, epochs: pd.DataFrame) -> tuple[Curve, ...] | Withheld:
    """Return median and quartiles of train and validation accuracy at each step, by depth.

    Only completed trials count, so that every step of a curve shows the same trials and the curve does not rise because
    weak trials were pruned on the way. A step that fewer than half of a depth's trials reached is left out.
    """
    if complete.empty:
        return NO_TRIALS
    told = epochs.merge(complete[["number", "depth"]], left_on="trial", right_on="number")
    return tuple(_curve(depth, group) for depth, group in _by_depth(told))


def _by_depth(table: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    for depth in sorted(set(table["depth"].astype(int))):
        yield int(depth), table[table["depth"] == depth]


def _row(depth: int, trials: pd.DataFrame, n_validation: int) -> DepthRow:
    feasible = trials[trials["feasible"].astype(bool)] if "feasible" in trials else trials
    eligible = trials if feasible.empty else feasible
    best = eligible.sort_values(["score", "number"], ascending=[False, True]).iloc[0]
    return DepthRow(
        depth=depth,
        depth_fraction=float(best["depth_fraction"]),
        trainable_fraction=float(best["trainable_fraction"]),
        n=len(trials),
        best=proportion(round(float(best["val_accuracy_best"]) * n_validation), n_validation),
        best_trial=int(best["number"]),
        accuracy=mean_estimate(trials["val_accuracy_best"]),
        gap_best=mean_estimate(trials["gap_best"]),
        gap_last=mean_estimate(trials["gap_last"]),
    )


def _curve(depth: int, told: pd.DataFrame) -> Curve:
    n = told["trial"].nunique()
    reached = told["step"].value_counts().sort_index()
    steps = reached.index[2 * reached >= n].tolist()
    heads = told["phase"].eq("head").groupby(told["trial"]).sum()
    return Curve(
        depth=depth,
        n=n,
        head_steps=int(np.median(heads)),
        steps=tuple(steps),
        train=_quartiles(told, "train_accuracy", steps),
        validation=_quartiles(told, "val_accuracy", steps),
    )


def _quartiles(told: pd.DataFrame, column: str, steps: list[int]) -> tuple[tuple[float, float, float], ...]:
    quartiles = (np.quantile(told.loc[told["step"] == step, column], (0.25, 0.5, 0.75)) for step in steps)
    return tuple((float(low), float(middle), float(high)) for low, middle, high in quartiles)
