"""Optuna's samplers by name, configured for short parallel trainings in two phases."""

import importlib.util
import warnings
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    CmaEsSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

from drft.errors import ConfigError
from drft.extras import install_command
from drft.own_function import is_function
from study.samplers.balanced import BalancedSampler
from study.samplers.names import SAMPLERS, Goal
from study.samplers.own import OwnSampler
from study.space import BoundSpace, Range
from study.storage.optuna_internals import check_study_view

CONSTRAINED = frozenset({"tpe", "gp"})
"""Samplers that avoid trials above the limit on the gap; Optuna's other samplers ignore constraints."""

_STARTUP_TRIALS = 30
"""Random trials before a sampler uses its model: about three for each depth of a usual backbone, so every depth is
sampled."""

_NEAR_DEPTHS = 2
"""With the goal depth, TPE learns from the trials of so many depths on each side: what is good for a deep training,
such as its learning rate, is not for a shallow one, and TPE cannot draw for a given depth from a model that has the
depth in it. Other samplers learn from all trials; a narrower view has not been measured for them."""

_STARTUP_NEAR = 10
"""Random trials among those before TPE uses its model."""


def make_sampler(name: str, *, seed: int, space: BoundSpace, finished_trials: int, goal: Goal = "best") -> BaseSampler:
    """Return the sampler called ``name``.

    Args:
        name: one of ``SAMPLERS``, or ``module:function``. The function takes ``space`` and a seed, and returns the
            sampler. It is called once for each value of the dimension that the space isolates, else once.
        seed: the study's seed.
        space: what is searched.
        finished_trials: trials that the study has already. The sampler's seed follows from both numbers, so that a
            resumed study does not draw its first points again.
        goal: with ``depth``, every depth gets the same number of trials.

    Raises:
        ConfigError: when the sampler cannot search this space, its package is not installed, or a function returns no
            sampler.
    """
    if name not in SAMPLERS and not is_function(name):
        raise ConfigError(f"unknown sampler {name!r}; choose one of {', '.join(SAMPLERS)}, or module:function")
    startup = _STARTUP_TRIALS

    def make(index: int) -> BaseSampler:
        if not is_function(name):
            return _make_one(name, space, seed, finished_trials, index, startup)
        return OwnSampler(name, space, _seed(seed, index, finished_trials))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "grid" or (space.isolate is None and goal == "best"):  # a grid visits all values anyway
            return make(0)
        path = space.isolate or "depth"
        values = space.values(path)
        reach = len(values)
        if space.isolate is not None:
            reach = 0
        elif name == "tpe":
            reach, startup = _NEAR_DEPTHS, _STARTUP_NEAR
        return BalancedSampler(path, values, make, reach=reach)


def _make_one(
    name: str,
    space: BoundSpace,
    study_seed: int,
    finished_trials: int,
    index: int,
    startup: int,
) -> BaseSampler:
    """Return one sampler; ``index`` counts the samplers of a study that has several."""
    seed = _seed(study_seed, index, finished_trials)
    if name == "random":
        return RandomSampler(seed=seed)
    if name == "qmc":
        # One sequence for the whole study: the storage keeps the position in it, so the seed must stay the same.
        return QuasiRandomSampler(space, _seed(study_seed, index))
    if name == "gp":
        return GPSampler(n_startup_trials=_STARTUP_TRIALS, seed=seed, warn_independent_sampling=False)
    if name == "cmaes":
        _check_cmaes(space)
        return _CovarianceMatrixSampler(
            n_startup_trials=_STARTUP_TRIALS, with_margin=True, seed=seed, warn_independent_sampling=False
        )
    if name == "grid":
        space.grid()  # raises where a dimension has endless values
        return ExhaustiveSampler(seed=seed)
    return TPESampler(
        n_startup_trials=startup,
        multivariate=True,
        group=space.conditional,
        constant_liar=True,
        seed=seed,
    )


def _seed(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def _check_cmaes(space: BoundSpace) -> None:
    if importlib.util.find_spec("cmaes") is None:
        raise ConfigError(f"the sampler cmaes needs the package cmaes; run: {install_command('cmaes')}")
    if len(_drawn_at_random("cmaes", space)) == len(space.dimensions):
        raise ConfigError(
            f"the sampler cmaes has nothing to learn in the space {space.name!r}: it needs a float or int "
            "dimension without a condition; choose another sampler, such as tpe"
        )


class QuasiRandomSampler(QMCSampler):
    """A scrambled Sobol' sequence over all dimensions of a space.

    Optuna's own sampler infers the dimensions from the first trial, which it draws at random. Here every trial gets a
    point of the whole space; the coordinates of dimensions that are inactive in the trial are not used.
    """

    def __init__(self, space: BoundSpace, seed: int) -> None:
        super().__init__(scramble=True, seed=seed, warn_independent_sampling=False)
        self._distributions = {path: d for path, d in space.distributions.items() if not d.single()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return all dimensions that have more than one value."""
        return dict(self._distributions)  # a copy, since PartialFixedSampler deletes from what it gets


class _CovarianceMatrixSampler(CmaEsSampler):
    """CMA-ES that does not warn after each trial that it ignores constraints: ``sampler_notes`` has a note on it."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Constraints have been set")
            super().after_trial(study, trial, state, values)


class ExhaustiveSampler(BruteForceSampler):
    """Every configuration once, in random order; inactive dimensions do not multiply configurations."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Do nothing.

        Optuna's own method calls ``study.stop`` after the last configuration, which fails outside ``study.optimize``.
        """


def sampler_notes(name: str, space: BoundSpace, max_gap: float | None = None, goal: Goal = "best") -> tuple[str, ...]:
    """Return what a user should know about this sampler on this space, one sentence each."""
    notes = []
    if max_gap is not None and name not in CONSTRAINED and not is_function(name):
        notes.append(f"{name} does not use --max-gap to draw trials: it only limits which of them can be the best")
    if name in {"gp", "cmaes"}:
        notes.append(f"{name} learns from completed trials only, not from pruned ones")
        paths = _drawn_at_random(name, space)
        if paths:
            notes.append(f"{name} draws these at random, as it cannot model them: {', '.join(paths)}")
    if name == "grid":
        notes.append(f"the grid has {space.size} points; trials beyond that repeat some of them at random")
    elif space.isolate is not None:
        notes.append(f"every value of {space.isolate} gets its own {name} sampler and as many trials as the others")
        if reason := check_study_view():
            notes.append(f"these samplers learn from the trials of all values, since {reason}")
    elif goal == "depth":
        notes.append("every depth gets as many trials as the others")
    return tuple(notes)


def _drawn_at_random(name: str, space: BoundSpace) -> list[str]:
    """Return the dimensions that a sampler cannot model: conditional ones, and for cmaes categorical ones."""
    return [
        dimension.path
        for dimension in space.dimensions
        if dimension.when or (name == "cmaes" and not isinstance(dimension.domain, Range))
    ]
