"""A search space on one backbone: every value in it is one a training can run with."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial

from drft.config.trial_config import TrialConfig, with_values
from drft.errors import ConfigError
from study.space.backbones import NAME, Backbones, blocks_at
from study.space.dimension import Dimension, Value
from study.space.settings import DEPTH_FRACTION

_HEAD_EPOCHS = "head_phase.epochs"
_DEPTH_EPOCHS = "depth_phase.epochs"


@dataclass(frozen=True, slots=True)
class BoundSpace:
    """What ``Space.bind`` returns: turns Optuna trials into configurations."""

    name: str
    base: TrialConfig
    """Fixed values included; a dimension that is inactive in a trial keeps its value from here."""
    counts: Mapping[str, int]
    """Blocks of each backbone that trials can have, by its name."""
    dimensions: tuple[Dimension, ...]
    isolate: str | None = None
    """The dimension whose every value gets a sub-study of equal budget, or None."""
    backbones: Backbones | None = None
    """Where they are searched, what each brings along."""
    depth_fraction: float | None = None
    """Share of the blocks that all trials train, where it is fixed."""

    def suggest(self, trial: BaseTrial) -> TrialConfig:
        """Ask the trial for the dimensions that are active, in their order, and return its configuration.

        Dimensions are named by their paths in the trial. The configuration's ``seed`` is the base's.
        """
        params: dict[str, Value] = {}
        for dimension in self.dimensions:
            if dimension.active(params):
                params[dimension.path] = dimension.domain.suggest(trial, dimension.path)
        return self.configured(params)

    def configured(self, params: Mapping[str, Value]) -> TrialConfig:
        """Return the configuration in which these dimensions have these values, and the others those of the base."""
        name = str(params.get(NAME, self.base.backbone.name))
        brought = {} if self.backbones is None else self.backbones.settings(name)
        values = {**brought, **params}
        fraction = values.pop(DEPTH_FRACTION, self.depth_fraction)
        if fraction is not None:
            values["depth"] = blocks_at(float(fraction), self.counts[name])
        return with_values(self.base, values)

    @property
    def each(self) -> tuple[TrialConfig, ...]:
        """The base configuration on every backbone."""
        names = self.values(NAME) if self.backbones is not None else ()
        return tuple(self.configured({NAME: name}) for name in names) or (self.base,)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distribution of every dimension, active or not."""
        return {dimension.path: dimension.domain.distribution() for dimension in self.dimensions}

    @property
    def conditional(self) -> bool:
        """Whether any dimension is searched only under a condition."""
        return any(dimension.when for dimension in self.dimensions)

    def values(self, path: str) -> tuple[Value, ...]:
        """Return all values of one dimension, none where they are endless.

        Raises:
            KeyError: when there is no such dimension.
        """
        return {dimension.path: dimension.domain.values() or () for dimension in self.dimensions}[path]

    def grid(self) -> dict[str, tuple[Value, ...]]:
        """Return all values of every dimension, for exhaustive search.

        Raises:
            ConfigError: when a dimension has endless values, naming each of those.
        """
        grid = {dimension.path: self.values(dimension.path) for dimension in self.dimensions}
        endless = [path for path, values in grid.items() if not values]
        if endless:
            raise ConfigError(
                f"{path}: has endless values, which no grid can hold; "
                "give it a step, or list its values with type: categorical"
                for path in endless
            )
        return grid

    @property
    def size(self) -> int | None:
        """Number of distinct configurations, or None where a dimension has endless values."""
        if not all(self.values(dimension.path) for dimension in self.dimensions):
            return None
        parents = {condition.path for dimension in self.dimensions for condition in dimension.when}
        free = [dimension for dimension in self.dimensions if dimension.path not in parents]
        return sum(
            math.prod(len(self.values(dimension.path)) for dimension in free if dimension.active(params))
            for params in assignments([d for d in self.dimensions if d.path in parents], {}, _all_values)
        )

    @property
    def min_steps(self) -> int:
        """The fewest epochs a trial can have, both phases together."""
        return int(self._epochs(_HEAD_EPOCHS)[0] + self._epochs(_DEPTH_EPOCHS)[0])

    @property
    def max_steps(self) -> int:
        """The most epochs a trial can have, both phases together."""
        return int(self._epochs(_HEAD_EPOCHS)[-1] + self._epochs(_DEPTH_EPOCHS)[-1])

    @property
    def first_prunable_step(self) -> int:
        """The first step at which any trial's head phase is over plus one epoch."""
        return int(self._epochs(_HEAD_EPOCHS)[0]) + 1

    def _epochs(self, path: str) -> tuple[float, float]:
        """Return the fewest and the most epochs a phase can have."""
        fixed = _setting(self.base, path)
        searched = next((dimension for dimension in self.dimensions if dimension.path == path), None)
        if searched is None:
            return fixed, fixed
        low, high = searched.domain.smallest, searched.domain.largest
        return (min(low, fixed), max(high, fixed)) if searched.when else (low, high)


def _setting(config: TrialConfig, path: str) -> float:
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name)
    return float(value)


def assignments(
    dimensions: Sequence[Dimension],
    params: Mapping[str, Value],
    values: Callable[[Dimension], Sequence[Value]],
) -> Iterator[Mapping[str, Value]]:
    """Yield ``params`` with every distinct assignment of further dimensions; inactive ones are left out.

    Args:
        dimensions: those to assign, every one after those that its conditions look at.
        params: what is assigned already.
        values: the values of a dimension that are tried.
    """
    if not dimensions:
        yield params
        return
    first, *rest = dimensions
    if not first.active(params):
        yield from assignments(rest, params, values)
        return
    for value in values(first):
        yield from assignments(rest, {**params, first.path: value}, values)


def _all_values(dimension: Dimension) -> Sequence[Value]:
    return dimension.domain.values() or ()
