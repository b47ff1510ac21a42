"""How early one can tell: whether the ranks of trials after a few epochs are those they end with."""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drft.config.trial_config import Metric
from study.analysis.backbones import NAME
from study.analysis.estimators.agreement import MIN_TRIALS, rank_agreement
from study.analysis.estimators.intervals import Estimate, Withheld, exact_proportion
from study.analysis.planned_steps import head_steps
from study.results.metric_names import epoch_scores

TOP = 0.25
"""The best trials, which should not be lost: those that end in this share."""

KEPT = 0.5
"""A rule that stops half of the trials, as halving does, keeps those above this share."""


class EarlyLook(NamedTuple):
    """What a look at one step tells of the end."""

    step: int | None
    """None for the last step of the head phase, which is each trial's own."""
    n: int
    """Trials that reached it."""
    tau: Estimate | Withheld
    """Kendall's tau-b between the best score so far and the best score of all; percentile bootstrap over trials."""
    recall: Estimate | Withheld
    """Of the trials that end in the best quarter, the share that is in the upper half at this step; exact interval."""


class EarlyGroup(NamedTuple):
    """Looks at one group of completed trials."""

    depth: int | None
    """None for all depths together."""
    n: int
    head: EarlyLook
    """At the end of the head phase, before any block was trained."""
    looks: tuple[EarlyLook, ...]
    """At each step before the last; one that fewer than half of the trials reached is left out."""


class Early(NamedTuple):
    """How far early scores rank the final ones."""

    everyone: EarlyGroup
    control: EarlyGroup | Withheld
    """The control arm alone, which no pruner has chosen from."""
    depths: tuple[EarlyGroup, ...]
    """Each depth with at least ten completed trials; none where trials have several backbones, of which a depth is
    another share."""
    pruned: int
    """Trials that were pruned: how they would have ended is not known, so they count nowhere."""


def early(
    trials: pd.DataFrame, complete: pd.DataFrame, epochs: pd.DataFrame, base_config: Mapping[str, Any], metric: Metric
) -> Early | Withheld:
    """Compare the best score so far at each step with the best score of the whole training.

    Both are the study's metric on the validation images: what a pruner sees, and what it is meant to foresee. That the
    best so far is part of the best of all pulls their ranks together, more so with every step; a final score on other
    images would agree less.

    Only trials that ran to their end count, since the end of a pruned one is censored. Pruning kept those that looked
    good early, so the completed trials differ less in their early scores than all would, and agreement among them is
    lower (range restriction); the control arm, drawn by trial number alone, is free of that. Trials count as
    independent draws, which those of an adaptive sampler are not.
    """
    if len(complete) < MIN_TRIALS:
        return Withheld(f"ranks are compared from {MIN_TRIALS} completed trials on, there are {len(complete)}")
    curves = _so_far(complete, epochs.assign(score=epoch_scores(epochs, metric)))
    head = head_steps(complete, base_config).to_numpy(dtype=np.int64)
    control = complete["control"].eq(True).to_numpy()
    return Early(
        everyone=_group(None, curves, head),
        control=_group(None, curves[control], head[control])
        if control.sum() >= MIN_TRIALS
        else Withheld(f"the control arm has {control.sum()} completed trials, and ranks take at least {MIN_TRIALS}"),
        depths=() if NAME in complete else tuple(_by_depth(complete, curves, head)),
        pruned=int(trials["state"].eq("PRUNED").sum()),
    )


def _so_far(complete: pd.DataFrame, epochs: pd.DataFrame) -> NDArray[np.float64]:
    """Return the best score up to each step, shape (trials, steps); nan where a trial was over already."""
    table = epochs.pivot_table(index="trial", columns="step", values="score")
    return np.asarray(table.reindex(complete["number"].astype(int)).cummax(axis=1), dtype=np.float64)


def _by_depth(complete: pd.DataFrame, curves: NDArray[np.float64], head: NDArray[np.int64]) -> Iterator[EarlyGroup]:
    depths = complete["depth"].to_numpy(dtype=np.int64)
    for depth in np.unique(depths):
        here = depths == depth
        if here.sum() >= MIN_TRIALS:
            yield _group(int(depth), curves[here], head[here])


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
        few = Withheld(f"ranks are compared from {MIN_TRIALS} trials on, and {len(now)} reached this step")
        return EarlyLook(step, len(now), few, few)
    return EarlyLook(step, len(now), rank_agreement(now, end), _recall(now, end))


def _recall(now: NDArray[np.float64], end: NDArray[np.float64]) -> Estimate:
    """Return which share of the best is kept; trials that tie with the last one that is in are in, on either side."""
    best = end >= np.sort(end)[-ceil(TOP * len(end))]
    kept = now >= np.sort(now)[-ceil(KEPT * len(now))]
    return exact_proportion(int((best & kept).sum()), int(best.sum()))
