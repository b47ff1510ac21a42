"""A pruner that predicts from the study's completed trials whether a trial can still end among the best.

Successive halving assumes that ranks after a few epochs are the ranks at the end. This pruner fits a line through the
completed trials: the score at the end, given the score after this epoch. It stops a trial whose score at the end would,
given the spread around the line, hardly ever be among the best. It extrapolates learning curves (Domhan et al. 2015;
Klein et al. 2017) without a model of the curve, which ten noisy epochs do not determine.
"""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
import optuna
from numpy.typing import ArrayLike
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

RISK = 0.1
"""A trial is stopped when its chance to end among the best is below this."""

TOP = 0.25
"""The best trials: this share of all trials that have ended, pruned ones included. Otherwise the share of the best
among all trials would fall as more trials are pruned. ``benchmarks.pruners`` measures this value and ``RISK``."""

LEAST = 10
"""Completed trials before the first prediction."""


class PredictivePruner(BasePruner):
    """Stops trials that will hardly end among the best of the study.

    It keeps no state: everything is read from the study, so a resumed study, or one with several tuners, is pruned in
    the same way. The first trials all complete.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should stop; its last report is its best score so far."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        complete = [other for other in ended if other.state == TrialState.COMPLETE]
        return chance(trial, complete, pruned=len(ended) - len(complete)) < RISK


class Prediction(NamedTuple):
    """The score at the end of a training, predicted from its score after an epoch."""

    score: float
    spread: float
    """Standard deviation of the score at the end around the predicted one."""
    freedom: int
    """Degrees of freedom of the spread."""


def chance(trial: FrozenTrial, complete: Sequence[FrozenTrial], pruned: int = 0) -> float:
    """Return the chance that a trial ends among the best of the trials that have ended.

    Args:
        trial: has reported its best score so far at its last epoch.
        complete: completed trials. Those that ended before this epoch count for the best scores only.
        pruned: number of pruned trials; none of them is among the best.

    Returns:
        The chance, by a t distribution around the predicted score; 1 with fewer than ``LEAST`` trials to predict from.
    """
    step = trial.last_step
    assert step is not None
    compared = [other for other in complete if step in other.intermediate_values]
    if len(compared) < LEAST:
        return 1.0
    # Imported here, since SciPy takes half a second to import, and the first trials do not need it.
    from scipy.special import stdtr  # noqa: PLC0415

    finals = sorted((_score(other) for other in complete), reverse=True)
    needed = finals[min(ceil(TOP * (len(finals) + pruned)), len(finals)) - 1]
    predicted = predict_final(
        [other.intermediate_values[step] for other in compared],
        [_score(other) for other in compared],
        trial.intermediate_values[step],
    )
    if not predicted.spread:
        return float(predicted.score >= needed)
    return float(stdtr(predicted.freedom, (predicted.score - needed) / predicted.spread))


def predict_final(early: ArrayLike, final: ArrayLike, score: float) -> Prediction:
    """Predict the score at the end of a training by a line through completed ones (least squares).

    That weak trials were pruned does not bend the line: they were chosen by what it predicts from.

    Args:
        early: best score of the completed trainings after some epoch, shape (trainings,), at least three.
        final: their score at the end, shape (trainings,).
        score: best score of the training after this epoch; the predicted score is never below it.
    """
    x, y = np.asarray(early, dtype=np.float64), np.asarray(final, dtype=np.float64)
    centre, scale = x.mean(), x.std()
    z, at = ((x - centre) / scale, (score - centre) / scale) if scale else (np.zeros_like(x), 0.0)
    slope = float(z @ y) / len(x)
    freedom = len(x) - 2
    residuals = y - y.mean() - slope * z
    variance = float(residuals @ residuals) / freedom * (1 + (1 + at**2) / len(x))
    return Prediction(max(score, float(y.mean()) + slope * at), variance**0.5, freedom)


def _score(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value
