"""How early the final ranks of trials are visible: ranks after a few epochs against ranks at the end."""

from collections.abc import Mapping
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drft.config.trial_config import Metric
from study.analysis.backbones import NAME
from study.analysis.estimators.agreement import MIN_TRIALS, rank_agreement
from study.analysis.estimators.intervals import Estimate, Withheld, exact_proportion
from study.analysis.planned_epochs import head_epochs
from study.results.metric_names import epoch_scores

TOP = 0.25
"""Share of the trials, by final score, that a rule should not stop."""

KEPT = 0.5
"""Share of the trials, by score so far, that a rule such as successive halving lets run."""


class EarlyLook(NamedTuple):
    """Scores at one epoch against final scores."""

    step: int | None
    """None for the last epoch of the head phase, which each trial has at its own epoch."""
    n: int
    """Trials that reached it."""
    tau: Estimate | Withheld
    """Kendall's tau-b between the best score so far and the best score of all; percentile bootstrap over trials."""
    recall: Estimate | Withheld
    """Of the trials that end in the best quarter, the share that is in the upper half at this epoch; exact interval."""


class EarlyGroup(NamedTuple):
    """Looks at one group of completed trials."""

    depth: int | None
    """None for all depths together."""
    n: int
    head: EarlyLook
    """At the end of the head phase, before any block was trained."""
    looks: tuple[EarlyLook, ...]
    """At each epoch before the last; one that fewer than half of the trials reached is left out."""


class EarlyRanking(NamedTuple):
    """How far early scores rank the final ones."""

    everyone: EarlyGroup
    control: EarlyGroup | Withheld
    """The control arm alone, in which no trial was pruned."""
    depths: tuple[EarlyGroup, ...]
    """Each depth with at least ten completed trials; none where trials have several backbones, of which a depth is
    another share."""
    pruned: int
    """Trials that were pruned: their final scores are unknown, so they count nowhere."""


def early_ranking(
    trials: pd.DataFrame, complete: pd.DataFrame, epochs: pd.DataFrame, base_config: Mapping[str, Any], metric: Metric
) -> EarlyRanking | Withheld:
    """Estimate how well the best score so far at each epoch ranks the final best scores.

    Kendall's tau-b (:func:`rank_agreement`) and the recall of the best quarter, both of the study's metric on the
    validation images: what a pruner sees, and what it is meant to predict. The best so far is part of the best of all,
    which raises the agreement, more so with every epoch; a final score on other images would agree less.

    Valid for trials drawn independently, which those of an adaptive sampler are not. Only trials that ran to their end
    count, since the end of a pruned one is censored. Pruning kept those that scored well early, so the completed trials
    differ less in their early scores than all would, and agreement among them is lower (range restriction); the control
    arm, drawn by trial number alone, is free of that. Withheld below ``MIN_TRIALS`` trials, in each group and at each
    epoch.
    """
    if len(complete) < MIN_TRIALS:
        return Withheld(f"ranks are compared from {MIN_TRIALS} completed trials on, there are {len(complete)}")
    # The best score up to each epoch, shape (trials, epochs); NaN where a trial had already ended.
    scores = epochs.assign(score=epoch_scores(epochs, metric)).pivot_table(
        index="trial", columns="step", values="score"
    )
    curves = scores.reindex(complete["number"].astype(int)).cummax(axis=1).to_numpy(dtype=np.float64)
    head = head_epochs(complete, base_config).to_numpy(dtype=np.int64)
    control = complete["control"].eq(True).to_numpy()
    depths = complete["depth"].to_numpy(dtype=np.int64)
    values, counts = np.unique(depths, return_counts=True)
    large = values[:0] if NAME in complete else values[counts >= MIN_TRIALS]
    return EarlyRanking(
        everyone=_group(None, curves, head),
        control=_group(None, curves[control], head[control])
        if control.sum() >= MIN_TRIALS
        else Withheld(f"the control arm has {control.sum()} completed trials, and ranks take at least {MIN_TRIALS}"),
        depths=tuple(_group(int(depth), curves[depths == depth], head[depths == depth]) for depth in large),
        pruned=int(trials["state"].eq("PRUNED").sum()),
    )


def _group(depth: int | None, curves: NDArray[np.float64], head: NDArray[np.int64]) -> EarlyGroup:
    final = np.nanmax(curves, axis=1)
    reached = np.isfinite(curves).sum(axis=0)
    last = int(np.flatnonzero(reached)[-1])
    looks = (_look(step + 1, curves[:, step], final) for step in range(last) if 2 * reached[step] >= len(curves))
    at_head = np.where(head > 0, curves[np.arange(len(curves)), np.clip(head, 1, last + 1) - 1], np.nan)
    return EarlyGroup(depth, len(curves), _look(None, at_head, final), tuple(looks))


def _look(step: int | None, so_far: NDArray[np.float64], final: NDArray[np.float64]) -> EarlyLook:
    reached = np.isfinite(so_far)
    now, end = so_far[reached], final[reached]
    if len(now) < MIN_TRIALS:
        few = Withheld(f"ranks are compared from {MIN_TRIALS} trials on, and {len(now)} reached this epoch")
        return EarlyLook(step, len(now), few, few)
    # Trials that tie with the last one inside a share are inside, in both.
    best = end >= np.sort(end)[-ceil(TOP * len(end))]
    kept = now >= np.sort(now)[-ceil(KEPT * len(now))]
    recall = exact_proportion(int((best & kept).sum()), int(best.sum()))
    return EarlyLook(step, len(now), rank_agreement(now, end), recall)
