"""A search space on its backbones: every value in it is one that a training can use."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial

from drft.config.trial_config import TrialConfig, with_values
from drft.errors import ConfigError
from study.space.backbones import NAME, Backbones, blocks_at
from study.space.dimension import Dimension, Value
from study.space.settings import DEPTH_FRACTION, get_setting

_HEAD_EPOCHS = "head_phase.epochs"
_DEPTH_EPOCHS = "depth_phase.epochs"


@dataclass(frozen=True, slots=True)
class BoundSpace:
    """The result of ``Space.bind``: turns Optuna trials into configurations."""

    name: str
    base: TrialConfig
    """The configuration with all fixed values. A dimension that is inactive in a trial has the value from here."""
    block_counts: Mapping[str, int]
    """Number of blocks of each backbone, by its name."""
    dimensions: tuple[Dimension, ...]
    isolate: str | None = None
    """The dimension whose values each get a sub-study of equal budget, or None."""
    backbones: Backbones | None = None
    """The backbones, if the space searches them."""
    depth_fraction: float | None = None
    """The depth as a share of the blocks, if it is fixed that way."""

    def suggest(self, trial: BaseTrial) -> TrialConfig:
        """Return the configuration of a trial, which suggests the active dimensions in their order.

        A dimension has its path as name in the trial. The configuration has the ``seed`` of the base.
        """
        params: dict[str, Value] = {}
        for dimension in self.dimensions:
            if dimension.active(params):
                params[dimension.path] = dimension.domain.suggest(trial, dimension.path)
        return self.configure(params)

    def configure(self, params: Mapping[str, Value]) -> TrialConfig:
        """Return the base configuration with these values of dimensions."""
        name = str(params.get(NAME, self.base.backbone.name))
        values = {**({} if self.backbones is None else self.backbones.settings(name)), **params}
        fraction = values.pop(DEPTH_FRACTION, self.depth_fraction)
        if fraction is not None:
            values["depth"] = blocks_at(float(fraction), self.block_counts[name])
        return with_values(self.base, values)

    @property
    def base_configs(self) -> tuple[TrialConfig, ...]:
        """The base configuration on every backbone."""
        names = () if self.backbones is None else self.values(NAME)
        return tuple(self.configure({NAME: name}) for name in names) or (self.base,)

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """All image sizes of the trainings in ascending order, in pixels; an empty tuple if they are endless."""
        sizes: set[int] = set()
        searched = {dimension.path: dimension for dimension in self.dimensions}.get("image_size")
        if searched is None or searched.when:
            sizes.add(self.base.image_size)
        if searched is not None:
            sizes.update(int(size) for size in searched.domain.values() or () if size is not None)
        return tuple(sorted(sizes))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The distribution of every dimension, active or not, in Optuna's form."""
        return {dimension.path: dimension.domain.distribution() for dimension in self.dimensions}

    @property
    def conditional(self) -> bool:
        """Whether any dimension has a condition."""
        return any(dimension.when for dimension in self.dimensions)

    def values(self, path: str) -> tuple[Value, ...]:
        """Return all values of one dimension; an empty tuple if they are endless.

        Raises:
            KeyError: when there is no such dimension.
        """
        return {dimension.path: dimension.domain.values() or () for dimension in self.dimensions}[path]

    def grid(self) -> dict[str, tuple[Value, ...]]:
        """Return all values of every dimension, for exhaustive search.

        Raises:
            ConfigError: with one fault for every dimension that has endless values.
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
        """Number of different configurations, or None if a dimension has endless values."""
        if not all(self.values(dimension.path) for dimension in self.dimensions):
            return None
        parents = {condition.path for dimension in self.dimensions for condition in dimension.when}
        others = [dimension for dimension in self.dimensions if dimension.path not in parents]
        return sum(
            math.prod(len(self.values(dimension.path)) for dimension in others if dimension.active(params))
            for params in assignments(
                [dimension for dimension in self.dimensions if dimension.path in parents],
                {},
                lambda dimension: dimension.domain.values() or (),
            )
        )

    @property
    def min_steps(self) -> int:
        """The smallest number of epochs of a trial, both phases together."""
        return int(self._epochs(_HEAD_EPOCHS)[0] + self._epochs(_DEPTH_EPOCHS)[0])

    @property
    def max_steps(self) -> int:
        """The largest number of epochs of a trial, both phases together."""
        return int(self._epochs(_HEAD_EPOCHS)[-1] + self._epochs(_DEPTH_EPOCHS)[-1])

    @property
    def first_prunable_step(self) -> int:
        """The first epoch that can be one epoch after a trial's head phase."""
        return int(self._epochs(_HEAD_EPOCHS)[0]) + 1

    def _epochs(self, path: str) -> tuple[float, float]:
        """Return the smallest and the largest number of epochs of a phase."""
        fixed = float(get_setting(self.base, path))
        searched = next((dimension for dimension in self.dimensions if dimension.path == path), None)
        if searched is None:
            return fixed, fixed
        low, high = searched.domain.bounds()
        return (min(low, fixed), max(high, fixed)) if searched.when else (low, high)


def assignments(
    dimensions: Sequence[Dimension],
    params: Mapping[str, Value],
    values: Callable[[Dimension], Sequence[Value]],
) -> Iterator[Mapping[str, Value]]:
    """Yield ``params`` with every combination of values of further dimensions, without the inactive ones.

    Args:
        dimensions: the further dimensions, each after those that its conditions are on.
        params: the values of other dimensions.
        values: returns the values of a dimension to combine.
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
