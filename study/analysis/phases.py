"""The head phase against the depth phase: where trials peak, how far they fall after it, and what depth adds."""

from typing import Literal, NamedTuple

import pandas as pd

from study.analysis.depth import NO_TRIALS
from study.analysis.estimators.intervals import (
    MIN_FOR_BOOTSTRAP,
    Estimate,
    Withheld,
    bootstrap_mean,
    bootstrap_median,
)


class PhasePeak(NamedTuple):
    """The completed trials that had their best step in one phase."""

    phase: Literal["head", "depth"]
    n: int
    best_step: Estimate
    """Median best step; percentile bootstrap over trials."""
    decay: Estimate
    """Mean of validation accuracy at the best step minus at the last one; percentile bootstrap over trials."""
    decay_per_epoch: Estimate | Withheld
    """The same, divided by the epochs between the two, over the trials whose best step was not the last."""


class Phases(NamedTuple):
    """Peaks by phase, and the best of each phase within the same trial."""

    head: PhasePeak | Withheld
    depth: PhasePeak | Withheld
    gain: Estimate | Withheld
    """Mean over trials of the best validation accuracy in the depth phase minus the best in the head phase. The longer
    phase has more epochs to be lucky in, so a small gain is no gain."""


def phases(complete: pd.DataFrame, epochs: pd.DataFrame) -> Phases | Withheld:
    """Compare the phases over the completed trials.

    A decay is never below zero in the study's metric, since the best step is a maximum of noisy measurements: it mixes
    overfitting with the luck of that step. ``gain`` counts trials that have both phases. Trials are
    taken as independent draws.
    """
    if complete.empty:
        return NO_TRIALS
    told = epochs[epochs["trial"].isin(complete["number"].astype(int))]
    best = told.pivot_table(index="trial", columns="phase", values="val_accuracy", aggfunc="max")
    gain = (best["depth"] - best["head"]).dropna() if {"head", "depth"} <= set(best.columns) else best.index[:0]
    return Phases(
        head=_phase(complete, "head"),
        depth=_phase(complete, "depth"),
        gain=bootstrap_mean(gain)
        if len(gain) >= MIN_FOR_BOOTSTRAP
        else Withheld(_too_few(len(gain), "have both phases")),
    )


def _phase(complete: pd.DataFrame, phase: Literal["head", "depth"]) -> PhasePeak | Withheld:
    trials = complete[complete["best_phase"] == phase]
    if len(trials) < MIN_FOR_BOOTSTRAP:
        return Withheld(_too_few(len(trials), f"peaked in the {phase} phase"))
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
        else Withheld("all of these trials peaked at their last step"),
    )


def _too_few(n: int, what: str) -> str:
    return f"a bootstrap needs at least {MIN_FOR_BOOTSTRAP} completed trials, and {n} {what}"
