"""From names to Optuna's pruners, set up for short trainings with two phases."""

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
from study.pruners.folds import COMPARED
from study.pruners.names import PRUNERS
from study.pruners.predictive import PredictivePruner


def make_pruner(name: str, *, first_step: int, last_step: int) -> BasePruner:
    """Return the pruner called ``name`` (one of ``PRUNERS``) for a study that maximizes.

    Args:
        name: the name.
        first_step: the earliest step at which a trial may be pruned: head phase over plus one epoch.
        last_step: the last step a trial can have.

    Raises:
        ConfigError: when there is no such pruner.
    """
    if name not in PRUNERS:
        raise ConfigError(f"unknown pruner {name!r}; choose one of {', '.join(PRUNERS)}")
    if name == "wilcoxon":
        return _of_folds()
    if name == "none" or first_step >= last_step:  # nothing left to save
        return NopPruner()
    return AfterHeadPhase(_pruner(name, first_step, last_step), first_step)


def _pruner(name: str, first_step: int, last_step: int) -> BasePruner:
    """Return asynchronous successive halving (Li et al. 2020), Hyperband (Li et al. 2018), the median rule or ours.

    Halving in two, where Optuna's own default is four or three: ten epochs leave room for one or two rungs only,
    at the first step and at its doubles.
    """
    if name == "asha":
        return SuccessiveHalvingPruner(min_resource=first_step, reduction_factor=2)
    if name == "hyperband":
        return HyperbandPruner(min_resource=first_step, max_resource=last_step, reduction_factor=2)
    if name == "predictive":
        return PredictivePruner()
    return MedianPruner(n_startup_trials=5, n_warmup_steps=first_step)


def _of_folds() -> BasePruner:
    """Return the pruner that compares a trial's folds with those of the best trial (Wilcoxon's signed-rank test).

    Three folds, all of them worse, have p = 1/8, which is sure enough here. At Optuna's own threshold of 0.1 it would
    take four, and of five folds a trial could be spared but one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return WilcoxonPruner(p_threshold=0.15, n_startup_steps=COMPARED)


class AfterHeadPhase(BasePruner):
    """Asks another pruner, but never before the trial's head phase is over plus one epoch.

    Where the epochs of the head phase are searched, the trial's own number counts, and a rung before it holds the score
    of the epoch in which the trial was first asked. Being no ``HyperbandPruner`` itself, it leaves all brackets to one
    sampler, where Optuna gives each a history of its own.
    """

    def __init__(self, pruner: BasePruner, first_step: int) -> None:
        self._pruner = pruner
        self._first_step = first_step

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Tell whether the trial should stop."""
        first_step = max(self._first_step, trial.params.get("head_phase.epochs", 0) + 1)
        if trial.last_step is None or trial.last_step < first_step:
            return False
        return self._pruner.prune(study, trial)
