"""A pruner that predicts from the study's completed trials whether a trial can still end among the best.

Successive halving assumes that ranks after a few epochs are the ranks at the end. This pruner looks at how much the
score of each completed trial rose after the same epoch. It stops a trial when hardly any of them rose as much as this
trial would have to. It extrapolates learning curves (Domhan et al. 2015; Klein et al. 2017) without fitting a curve,
since ten noisy epochs do not determine one.
"""

from collections.abc import Sequence
from math import ceil

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from study.space.seeds import CONTROL_EVERY

RISK = 0.05
"""A trial is stopped when its chance to end among the best is below this."""

TOP = 0.25
"""The best trials: this share of all trials that have ended, pruned ones included. Otherwise the share of the best
among all trials would fall as more trials are pruned."""

BORROWED = 8
"""A depth with so many completed trials of its own gives the trials of other depths half weight."""


class PredictivePruner(BasePruner):
    """Stops trials that will hardly end in the best quarter of the study.

    It keeps no state: everything is read from the study, so a resumed study, or one with several tuners, is pruned in
    the same way. With fewer than twenty completed trials no chance is below ``RISK``, so the first trials all complete.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should stop; its last report is its best score so far."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        complete = [other for other in ended if other.state == TrialState.COMPLETE]
        return bool(complete) and chance(trial, complete, pruned=len(ended) - len(complete)) < RISK


def chance(trial: FrozenTrial, complete: Sequence[FrozenTrial], pruned: int = 0) -> float:
    """Return the chance, above 0 and at most 1, that a trial ends in the best quarter of the trials that have ended.

    It is the weighted share of completed trials whose score rose as much after this epoch as the trial's would have to,
    the trial itself counted among them: a conformal p-value (Vovk et al. 2005; weighted: Tibshirani et al. 2019), which
    assumes no distribution.

    - Trials of the same backbone and depth have weight 1. Others have less weight, the more such trials there are:
      ``BORROWED`` / (``BORROWED`` + number of trials of the same kind).
    - Pruned trials are missing, and they had low scores. Trials of the control arm are never pruned; one that would
      have been stands for the pruned ones and has ``CONTROL_EVERY`` times the weight.

    Args:
        trial: has reported its best score so far at its last epoch.
        complete: completed trials, at least one. Those that ended before this epoch count for the best scores only.
        pruned: number of pruned trials; none of them is among the best.
    """
    step = trial.last_step
    assert step is not None
    scores = sorted((_score(other) for other in complete), reverse=True)
    best = min(ceil(TOP * (len(scores) + pruned)), len(scores))
    needed_rise = scores[best - 1] - trial.intermediate_values[step]
    compared = [other for other in complete if step in other.intermediate_values]
    alike = [_kind(other) == _kind(trial) for other in compared]
    other_weight = BORROWED / (BORROWED + sum(alike))
    weights = [
        (1 if is_alike else other_weight) * (CONTROL_EVERY if "would_prune" in other.user_attrs else 1)
        for other, is_alike in zip(compared, alike, strict=True)
    ]
    enough = sum(
        weight
        for other, weight in zip(compared, weights, strict=True)
        if _score(other) - other.intermediate_values[step] >= needed_rise
    )
    return (1 + enough) / (1 + sum(weights))  # the trial itself has weight 1, and rises as much as needed


def _kind(trial: FrozenTrial) -> tuple[object, ...]:
    """Return backbone and depth; of a running trial, Optuna passes a pruner the parameters only."""
    return tuple(trial.params.get(path) for path in ("backbone.name", "depth", "depth_fraction"))


def _score(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value
