"""From names to Optuna's samplers and pruners, set up for short parallel trainings with two phases."""

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

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
from study.samplers.isolating import IsolatingSampler
from study.samplers.names import SAMPLERS
from study.space import BoundSpace, Range

if TYPE_CHECKING:
    from collections.abc import Sequence

CONSTRAINED = frozenset({"tpe", "gp"})
"""Samplers that learn from the constraint on the gap which trials to avoid; Optuna's others do not look at it."""

_STARTUP_TRIALS = 30
"""Trials at random before a model is trusted: three at each depth of a usual backbone, so that none goes unheard."""


def make_sampler(name: str, *, seed: int, space: BoundSpace, finished_trials: int) -> BaseSampler:
    """Return the sampler called ``name`` (one of ``SAMPLERS``).

    Args:
        name: the name.
        seed: the study's seed.
        space: what is searched.
        finished_trials: trials the study has already. The sampler's seed follows from both numbers, so that a
            study that goes on does not draw its first points again.

    Raises:
        ConfigError: when the sampler cannot search this space, or lacks its package.
    """
    if name not in SAMPLERS:
        raise ConfigError(f"unknown sampler {name!r}; choose one of {', '.join(SAMPLERS)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if space.isolate is None or name == "grid":
            return _SAMPLERS[name](space, _Seeds(seed, finished_trials))
        return IsolatingSampler(
            space.isolate,
            space.values(space.isolate),
            lambda part: _SAMPLERS[name](space, _Seeds(seed, finished_trials, part)),
        )


def sampler_notes(name: str, space: BoundSpace, max_gap: float | None = None) -> tuple[str, ...]:
    """Return what a user should know about this sampler on this space, one sentence each."""
    notes = []
    if max_gap is not None and name not in CONSTRAINED:
        notes.append(f"{name} does not use --max-gap to draw trials: it only says which of them can be the best")
    if name in {"gp", "cmaes"}:
        notes.append(f"{name} learns from trials that ran to their end; pruned trials teach it nothing")
        left_out = _left_to_chance(name, space)
        if left_out:
            notes.append(f"{name} draws these at random, as it cannot model them: {', '.join(left_out)}")
    if name == "grid":
        notes.append(f"the grid has {space.size} points; trials beyond that repeat some at random")
    elif space.isolate is not None:
        notes.append(f"every value of {space.isolate} gets its own {name} sampler and as many trials as the others")
    return tuple(notes)


class _QuasiRandom(QMCSampler):
    """A scrambled Sobol' sequence over all dimensions at once.

    Optuna's own infers the dimensions from the first trial, which it draws at random. Here every trial gets a
    point of the whole space; coordinates of dimensions that are inactive in a trial are not used.
    """

    def __init__(self, space: BoundSpace, seed: int) -> None:
        super().__init__(scramble=True, seed=seed, warn_independent_sampling=False)
        self._whole = {path: d for path, d in space.distributions.items() if not d.single()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._whole


class _CovarianceMatrix(CmaEsSampler):
    """CMA-ES; that it does not use constraints is said once by ``sampler_notes``, not by Optuna after each trial."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: "Sequence[float] | None"
    ) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Constraints have been set")
            super().after_trial(study, trial, state, values)


class _Grid(BruteForceSampler):
    """Every configuration once, in random order; conditions are understood, so none is run twice."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: "Sequence[float] | None"
    ) -> None:
        """Do nothing: Optuna's own ends ``study.optimize`` here, and the conductor counts trials itself."""


@dataclass(frozen=True, slots=True)
class _Seeds:
    """The seeds of one sampler; ``part`` counts the samplers of a study that has several."""

    study: int
    finished_trials: int
    part: int = 0

    @property
    def now(self) -> int:
        """A seed that changes as the study goes on."""
        return _drawn(self.study, self.part, self.finished_trials)

    @property
    def lasting(self) -> int:
        """A seed that stays the same through the whole study."""
        return _drawn(self.study, self.part)


def _drawn(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def _tpe(space: BoundSpace, seeds: _Seeds) -> BaseSampler:
    return TPESampler(
        n_startup_trials=_STARTUP_TRIALS,
        multivariate=True,
        group=space.conditional,
        constant_liar=True,
        seed=seeds.now,
    )


def _qmc(space: BoundSpace, seeds: _Seeds) -> BaseSampler:
    return _QuasiRandom(space, seeds.lasting)  # one sequence, whose place the storage remembers


def _gp(_: BoundSpace, seeds: _Seeds) -> BaseSampler:
    return GPSampler(n_startup_trials=_STARTUP_TRIALS, seed=seeds.now, warn_independent_sampling=False)


def _cmaes(space: BoundSpace, seeds: _Seeds) -> BaseSampler:
    if importlib.util.find_spec("cmaes") is None:
        raise ConfigError("the sampler cmaes needs one more package; run: pip install 'drft-study[cmaes]'")
    if len(_left_to_chance("cmaes", space)) == len(space.dimensions):
        raise ConfigError(
            f"the sampler cmaes has nothing to learn in the space {space.name!r}: it needs a float or int "
            "dimension without a condition; choose another sampler, such as tpe"
        )
    return _CovarianceMatrix(
        n_startup_trials=_STARTUP_TRIALS, with_margin=True, seed=seeds.now, warn_independent_sampling=False
    )


def _grid(space: BoundSpace, seeds: _Seeds) -> BaseSampler:
    space.grid()  # names every dimension that has no end
    return _Grid(seed=seeds.now)


_SAMPLERS: Mapping[str, Callable[[BoundSpace, _Seeds], BaseSampler]] = MappingProxyType(
    {
        "tpe": _tpe,
        "random": lambda _, seeds: RandomSampler(seed=seeds.now),
        "qmc": _qmc,
        "gp": _gp,
        "cmaes": _cmaes,
        "grid": _grid,
    }
)


def _left_to_chance(name: str, space: BoundSpace) -> list[str]:
    """Return the dimensions that a sampler without a notion of conditions (or categories) draws at random."""
    return [
        dimension.path
        for dimension in space.dimensions
        if dimension.when or (name == "cmaes" and not isinstance(dimension.domain, Range))
    ]
