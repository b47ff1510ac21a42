"""When validation peaks, and what picking the best step gained over taking the last one."""

from typing import NamedTuple

import pandas as pd

from study.analysis.depth import NO_TRIALS
from study.analysis.estimators.intervals import (
    MIN_FOR_BOOTSTRAP,
    Estimate,
    Withheld,
    bootstrap_mean,
    bootstrap_median,
    mean_estimate,
    proportion,
)


class StepCount(NamedTuple):
    """How many trials had their best step here."""

    step: int
    head: int
    """Trials whose best step was in the head phase."""
    depth: int
    """Trials whose best step was in the depth phase."""


class Peak(NamedTuple):
    """Where the best steps of the completed trials lie."""

    n: int
    best_step: Estimate
    """Median best step; percentile bootstrap over trials."""
    last_step: float
    """Median last step."""
    before_last: Estimate
    """Share of trials whose best step came before their last one."""
    in_head_phase: Estimate
    """Share of trials whose best step was in the head phase."""
    counts: tuple[StepCount, ...]


class PairedEpochs(NamedTuple):
    """Validation accuracy of one trial at its best and at its last step."""

    trial: int
    depth: int
    best: float
    last: float


class BestVersusLast(NamedTuple):
    """Validation accuracy at the best step against the last one, over completed trials."""

    n: int
    best: Estimate
    last: Estimate
    difference: Estimate
    """Mean of best minus last; percentile bootstrap over trials, pairs kept together."""
    pairs: tuple[PairedEpochs, ...]


def peak(complete: pd.DataFrame) -> Peak | Withheld:
    """Describe the best steps: the first step of each trial with the highest validation score.

    Shares carry Wilson's interval, the median a percentile bootstrap, both over trials.

    Only completed trials count. A pruned trial was stopped while its peak may still have been ahead (censoring), and
    pruning stops weak trials, so the figure speaks of those that were allowed to end.
    """
    if complete.empty:
        return NO_TRIALS
    n, best, last = len(complete), complete["best_step"].astype(int), complete["last_step"].astype(int)
    head = complete["best_phase"].eq("head")
    return Peak(
        n=n,
        best_step=bootstrap_median(best),
        last_step=float(last.median()),
        before_last=proportion(int((best < last).sum()), n),
        in_head_phase=proportion(int(head.sum()), n),
        counts=tuple(
            StepCount(step, int((head & (best == step)).sum()), int((~head & (best == step)).sum()))
            for step in range(1, int(last.max()) + 1)
        ),
    )


def best_versus_last(complete: pd.DataFrame) -> BestVersusLast | Withheld:
    """Compare validation accuracy at the best and at the last step of each trial.

    Valid for five completed trials and more, described as in :func:`peak`. The best of several noisy measurements on
    the same images is optimistic: on fresh images the difference would be smaller than this one.
    """
    n = len(complete)
    if n < MIN_FOR_BOOTSTRAP:
        return Withheld(f"a paired bootstrap needs at least {MIN_FOR_BOOTSTRAP} completed trials, there are {n}")
    best, last = complete["val_accuracy_best"].astype(float), complete["val_accuracy_last"].astype(float)
    return BestVersusLast(
        n=n,
        best=mean_estimate(best),
        last=mean_estimate(last),
        difference=bootstrap_mean(best - last),
        pairs=tuple(
            PairedEpochs(int(number), int(depth), float(top), float(end))
            for number, depth, top, end in zip(complete["number"], complete["depth"], best, last, strict=True)
        ),
    )
