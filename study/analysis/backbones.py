"""Backbones side by side, where a study has several."""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from study.analysis.estimators.intervals import Estimate, Withheld, mean_estimate, proportion

NAME = "backbone.name"


class BackboneRow(NamedTuple):
    """The completed trials of one backbone."""

    backbone: str
    blocks: int
    n: int
    best: Estimate
    """Validation accuracy of the highest score, with Wilson's interval over the validation images. A maximum: it
    grows with n by luck alone."""
    best_trial: int
    best_depth: int
    accuracy: Estimate
    """Mean validation accuracy at the best step, over trials."""
    gap_last: Estimate
    """Mean gap at the last step, over trials."""
    seconds: Estimate
    """Mean over trials."""


def backbone_table(
    complete: pd.DataFrame, backbones: Mapping[str, int], n_validation: int
) -> tuple[BackboneRow, ...] | Withheld:
    """Describe each backbone by its completed trials; means carry Student's t interval over trials.

    Valid as a description: a sampler that learns gives more trials, and better ones, to backbones that began well, and
    pruning removed the weaker ones of each.

    Args:
        complete: the completed trials.
        backbones: blocks of each backbone that was searched, by its name.
        n_validation: images that accuracies were measured on.
    """
    if not backbones:
        return Withheld("the study has one backbone")
    groups = {name: complete[complete[NAME] == name] for name in backbones} if NAME in complete else {}
    rows = (_row(name, backbones[name], group, n_validation) for name, group in groups.items() if len(group))
    return tuple(rows) or Withheld("no trial has completed")


def _row(name: str, blocks: int, trials: pd.DataFrame, n_validation: int) -> BackboneRow:
    feasible = trials[trials["feasible"].astype(bool)]
    eligible = trials if feasible.empty else feasible
    best = eligible.sort_values(["score", "number"], ascending=[False, True]).iloc[0]
    return BackboneRow(
        backbone=name,
        blocks=blocks,
        n=len(trials),
        best=proportion(round(float(best["val_accuracy_best"]) * n_validation), n_validation),
        best_trial=int(best["number"]),
        best_depth=int(best["depth"]),
        accuracy=mean_estimate(trials["val_accuracy_best"]),
        gap_last=mean_estimate(trials["gap_last"]),
        seconds=mean_estimate(trials["seconds"]),
    )
