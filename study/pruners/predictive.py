"""A pruner that asks how far trials like this one still rose from here.

Successive halving trusts that ranks after a few epochs are those at the end. This one looks at how far the study's own
finished trials rose from the same step on, and stops a trial only when hardly any of them rose as far as it would have
to: an extrapolation of learning curves (Domhan et al. 2015; Klein et al. 2017) that fits no curve, since of ten noisy
epochs there is no telling which.
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
"""The best: this share of all trials that have ended. Of the completed ones alone it would be fewer and fewer."""

BORROWED = 8
"""With so many completed trials of its own, a depth borrows from the others at half their weight."""


class PredictivePruner(BasePruner):
    """Stops trials that will hardly end in the best quarter of the study.

    Nothing is kept between two questions: all is read from the study, so a study that goes on, or has several drivers,
    is pruned as it would have been. Fewer than twenty trials to compare with can show no chance below ``RISK``, so
    the first ones all run to their end.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Tell whether the trial should stop; what it reported last is its best score so far."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        complete = [other for other in ended if other.state == TrialState.COMPLETE]
        return bool(complete) and chance(trial, complete, pruned=len(ended) - len(complete)) < RISK


def chance(trial: FrozenTrial, complete: Sequence[FrozenTrial], pruned: int = 0) -> float:
    """Return the chance, above 0 and at most 1, that a trial ends in the best quarter of others that have ended.

    It is the weighted share of the completed ones that rose as far after this step as this trial would have to, itself
    counted among those that do: a conformal p-value (Vovk et al. 2005; weighted: Tibshirani et al. 2019), which fits no
    distribution.

    - Trials of the same backbone and depth count fully; others as if they were ``BORROWED`` trials among so many.
    - Trials that a pruner stopped are missing, and they are the ones that were low. One of the control arm that it
      would have stopped stands for all that it did: it counts ``CONTROL_EVERY`` times.

    Args:
        trial: has reported its best score so far at its last step.
        complete: completed trials, at least one; those that were over before this step only say what the best are.
        pruned: how many others were pruned, none of them among the best.
    """
    step = trial.last_step
    assert step is not None
    scores = sorted((_score(other) for other in complete), reverse=True)
    best = min(ceil(TOP * (len(scores) + pruned)), len(scores))
    rise = scores[best - 1] - trial.intermediate_values[step]
    compared = [other for other in complete if step in other.intermediate_values]
    own = sum(_kind(other) == _kind(trial) for other in compared)
    weights = [
        _weight(other, 1.0 if _kind(other) == _kind(trial) else BORROWED / (BORROWED + own)) for other in compared
    ]
    rose = (_score(other) - other.intermediate_values[step] >= rise for other in compared)
    as_far = sum(weight for weight, far in zip(weights, rose, strict=True) if far)
    return (1 + as_far) / (1 + sum(weights))


def _kind(trial: FrozenTrial) -> tuple[object, ...]:
    """Return what makes trials alike; of a trial under way Optuna shows a pruner the parameters alone."""
    return tuple(trial.params.get(path) for path in ("backbone.name", "depth", "depth_fraction"))


def _weight(trial: FrozenTrial, likeness: float) -> float:
    return likeness * (CONTROL_EVERY if "would_prune" in trial.user_attrs else 1)


def _score(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value
