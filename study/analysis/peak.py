"""When validation peaks and in which phase, the decay after the peak, and the gain of the best epoch over the last."""

from typing import Literal, NamedTuple

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


class EpochCount(NamedTuple):
    """How many trials had their best epoch here."""

    step: int
    head: int
    """Trials whose best epoch was in the head phase."""
    depth: int
    """Trials whose best epoch was in the depth phase."""


class Peak(NamedTuple):
    """The best epochs of the completed trials."""

    n: int
    best_step: Estimate
    """Median best epoch; percentile bootstrap over trials."""
    last_step: float
    """Median last epoch."""
    before_last: Estimate
    """Share of trials whose best epoch came before their last one."""
    in_head_phase: Estimate
    """Share of trials whose best epoch was in the head phase."""
    counts: tuple[EpochCount, ...]


class PairedEpochs(NamedTuple):
    """Validation accuracy of one trial at its best and at its last epoch."""

    trial: int
    depth: int
    best: float
    last: float


class BestVersusLast(NamedTuple):
    """Validation accuracy at the best epoch against the last one, over completed trials."""

    n: int
    best: Estimate
    last: Estimate
    difference: Estimate
    """Mean of best minus last; percentile bootstrap over trials, pairs kept together."""
    pairs: tuple[PairedEpochs, ...]


class PhasePeak(NamedTuple):
    """The completed trials that had their best epoch in one phase."""

    phase: Literal["head", "depth"]
    n: int
    best_step: Estimate
    """Median best epoch; percentile bootstrap over trials."""
    decay: Estimate
    """Mean of validation accuracy at the best epoch minus at the last one; percentile bootstrap over trials."""
    decay_per_epoch: Estimate | Withheld
    """The same, divided by the epochs between the two, over the trials whose best epoch was not the last."""


class Phases(NamedTuple):
    """Peaks by phase, and the best of each phase within the same trial."""

    head: PhasePeak | Withheld
    depth: PhasePeak | Withheld
    gain: Estimate | Withheld
    """Mean over trials of the best validation accuracy in the depth phase minus the best in the head phase. The longer
    phase has more epochs and so a higher maximum by chance: a small gain is no gain."""


def peak(complete: pd.DataFrame) -> Peak | Withheld:
    """Estimate the median best epoch (the first one with a trial's highest validation score), and when it comes.

    Shares carry Wilson's interval; the median a percentile bootstrap, from five trials on; both over trials.

    Valid for completed trials. A pruned trial was stopped while its peak may still have been ahead (censoring), and
    pruning stops weak trials, so they are left out; :func:`~study.analysis.survival.peak_survival` counts them.
    Withheld without a completed trial.
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
            EpochCount(step, int((head & (best == step)).sum()), int((~head & (best == step)).sum()))
            for step in range(1, int(last.max()) + 1)
        ),
    )


def best_versus_last(complete: pd.DataFrame) -> BestVersusLast | Withheld:
    """Estimate the mean difference in validation accuracy between the best and the last epoch of a trial.

    Percentile bootstrap over trials, on the same trials as :func:`peak`. The best of several noisy measurements on the
    same images is optimistic: on new images the difference would be smaller. Withheld below five completed trials, the
    fewest for a bootstrap.
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


def phases(complete: pd.DataFrame, epochs: pd.DataFrame) -> Phases | Withheld:
    """Estimate peak, decay and gain of each phase over the completed trials, with percentile bootstrap over trials.

    Valid for trials drawn independently. A decay is never below zero in the study's metric, since the best epoch is a
    maximum of noisy measurements: it mixes overfitting with the chance of that epoch. ``gain`` counts trials that have
    both phases. Withheld without a completed trial; each phase and the gain below five trials, the fewest for a
    bootstrap.
    """
    if complete.empty:
        return NO_TRIALS
    of_complete = epochs[epochs["trial"].isin(complete["number"].astype(int))]
    best = of_complete.pivot_table(index="trial", columns="phase", values="val_accuracy", aggfunc="max")
    gain = (best["depth"] - best["head"]).dropna() if {"head", "depth"} <= set(best.columns) else best.index[:0]
    return Phases(
        head=_phase(complete, "head"),
        depth=_phase(complete, "depth"),
        gain=bootstrap_mean(gain) if len(gain) >= MIN_FOR_BOOTSTRAP else _too_few(len(gain), "have both phases"),
    )


def _phase(complete: pd.DataFrame, phase: Literal["head", "depth"]) -> PhasePeak | Withheld:
    trials = complete[complete["best_phase"] == phase]
    if len(trials) < MIN_FOR_BOOTSTRAP:
        return _too_few(len(trials), f"peaked in the {phase} phase")
    decay = (trials["val_accuracy_best"] - trials["val_accuracy_last"]).astype(float)
    epochs_after = (trials["last_step"] - trials["best_step"]).astype(float)
    later = epochs_after > 0
    return PhasePeak(
        phase=phase,
        n=len(trials),
        best_step=bootstrap_median(trials["best_step"].astype(float)),
        decay=bootstrap_mean(decay),
        decay_per_epoch=bootstrap_mean(decay[later] / epochs_after[later])
        if later.any()
        else Withheld("all of these trials peaked at their last epoch"),
    )


def _too_few(n: int, what: str) -> Withheld:
    return Withheld(f"a bootstrap needs at least {MIN_FOR_BOOTSTRAP} completed trials, and {n} {what}")
