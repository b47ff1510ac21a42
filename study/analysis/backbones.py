"""Backbones compared, where a study searches several."""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from study.analysis.depth import NO_TRIALS, accuracy_estimate, best_trial
from study.analysis.estimators.intervals import Estimate, Withheld, mean_estimate

NAME = "backbone.name"


class BackboneRow(NamedTuple):
    """The completed trials of one backbone."""

    backbone: str
    blocks: int
    n: int
    best: Estimate
    """Validation accuracy of the highest score, with Wilson's interval over the validation images. A maximum: it grows
    with n by chance alone."""
    best_trial: int
    best_depth: int
    accuracy: Estimate
    """Mean validation accuracy at the best epoch, over trials."""
    gap_last: Estimate
    """Mean gap at the last epoch, over trials."""
    seconds: Estimate
    """Mean over trials."""


def backbone_table(
    complete: pd.DataFrame, backbones: Mapping[str, int], n_validation: int
) -> tuple[BackboneRow, ...] | Withheld:
    """Estimate mean accuracy, gap and seconds of each backbone; means carry Student's t interval over trials.

    Valid as a description: an adaptive sampler gives more trials, and better ones, to backbones that scored well early,
    and pruning removed the weaker trials of each. Withheld where the study has one backbone, or no completed trial.

    Args:
        complete: the completed trials.
        backbones: blocks of each backbone that was searched, by its name.
        n_validation: images that accuracies were measured on.
    """
    if not backbones:
        return Withheld("the study has one backbone")
    groups = {name: complete[complete[NAME] == name] for name in backbones} if NAME in complete else {}
    rows = (_row(name, backbones[name], group, n_validation) for name, group in groups.items() if len(group))
    return tuple(rows) or NO_TRIALS


def _row(name: str, blocks: int, trials: pd.DataFrame, n_validation: int) -> BackboneRow:
    best = best_trial(trials)
    return BackboneRow(
        backbone=name,
        blocks=blocks,
        n=len(trials),
        best=accuracy_estimate(best["val_accuracy_best"], n_validation),
        best_trial=int(best["number"]),
        best_depth=int(best["depth"]),
        accuracy=mean_estimate(trials["val_accuracy_best"]),
        gap_last=mean_estimate(trials["gap_last"]),
        seconds=mean_estimate(trials["seconds"]),
    )
