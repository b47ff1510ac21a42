"""Optuna's pruners by name, configured for short trainings in two phases."""

import warnings

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.trial import FrozenTrial

from drft.errors import ConfigError
from drft.own_function import call_function, is_function, one_line_for_own_code
from study.pruners.folds import COMPARED
from study.pruners.names import PRUNERS
from study.pruners.predictive import PredictivePruner


def make_pruner(name: str, *, first_step: int, last_step: int) -> BasePruner:
    """Return the pruner called ``name`` for a study that maximizes.

    ``asha`` is asynchronous successive halving (Li et al. 2020), ``hyperband`` is Hyperband (Li et al. 2018). Both
    halve the number of trials at each rung, where Optuna's defaults keep a quarter or a third: ten epochs have room for
    one or two rungs of those only. The rungs are at the first epoch and at its doubles.

    Args:
        name: one of ``PRUNERS``, or ``module:function``. The function takes ``first_step`` and ``last_step``, and
            returns the pruner.
        first_step: the earliest epoch at which a trial may be pruned: one epoch after the head phase.
        last_step: the last epoch that a trial can have.

    Raises:
        ConfigError: when there is no such pruner, or a function returns none.
    """
    if is_function(name):
        own = _OwnPruner(name, first_step, last_step)
        return AfterHeadPhase(own, first_step) if first_step < last_step else NopPruner()
    if name not in PRUNERS:
        raise ConfigError(f"unknown pruner {name!r}; choose one of {', '.join(PRUNERS)}, or module:function")
    if name == "wilcoxon":
        # The pruner compares the scores of a trial's folds with those of the best trial (signed-rank test). If all of
        # three folds are worse, p = 1/8, which is enough here. At Optuna's default of 0.1 it would take four folds, and
        # pruning could save only one fold of five.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return WilcoxonPruner(p_threshold=0.15, n_startup_steps=COMPARED)
    if name == "none" or first_step >= last_step:  # pruning would save no epoch
        return NopPruner()
    pruners = {
        "asha": SuccessiveHalvingPruner(min_resource=first_step, reduction_factor=2),
        "hyperband": HyperbandPruner(min_resource=first_step, max_resource=last_step, reduction_factor=2),
        "median": MedianPruner(n_startup_trials=5, n_warmup_steps=first_step),
        "predictive": PredictivePruner(),
    }
    return AfterHeadPhase(pruners[name], first_step)


class _OwnPruner(BasePruner):
    """The pruner that a function of the user returns. Where the user's code fails, the error is one line."""

    def __init__(self, name: str, first_epoch: int, last_epoch: int) -> None:
        self._name = name
        arguments = {"first_epoch": first_epoch, "last_epoch": last_epoch}
        wanted = "an optuna.pruners.BasePruner"
        self._pruner: BasePruner = call_function(name, arguments, BasePruner, wanted, "--pruner", ConfigError)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        with one_line_for_own_code(self._name, "prune of the pruner", "--pruner", ConfigError):
            return self._pruner.prune(study, trial)


class AfterHeadPhase(BasePruner):
    """Applies another pruner, but not before one epoch after the trial's own head phase.

    Where the epochs of the head phase are searched, the trial's own number of them counts. A rung before that epoch
    then holds the trial's score at the first epoch at which the pruner was applied.

    This class is no ``HyperbandPruner``, so Optuna does not split the history by bracket: one sampler learns from the
    trials of all brackets.
    """

    def __init__(self, pruner: BasePruner, first_step: int) -> None:
        self._pruner = pruner
        self._first_step = first_step

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should stop."""
        first_step = max(self._first_step, trial.params.get("head_phase.epochs", 0) + 1)
        if trial.last_step is None or trial.last_step < first_step:
            return False
        return self._pruner.prune(study, trial)
