"""One dimension of a search space: which setting it varies, over what, and when."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

Value = str | int | float | bool | None

ALL = math.inf
"""What ``all`` reads as until a space is bound to a backbone: more blocks than any has."""

_MOST_VALUES = 10_000
"""A range with more values than this counts as endless."""

_ROUNDING = 1e-6
"""Share of a step by which floating point may miss the end of a range."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; ``whole`` numbers only, or any."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    @property
    def kind(self) -> str:
        """The type's name in YAML."""
        return "int" if self.whole else "float"

    @property
    def smallest(self) -> float:
        """The smallest number of the range."""
        return self.low

    @property
    def largest(self) -> float:
        """The largest number of the range."""
        return self.high

    def resolved(self, blocks: int) -> Self:
        """Return the range with ``all`` replaced by the number of blocks."""
        return replace(self, low=_resolved(self.low, blocks), high=_resolved(self.high, blocks))

    def values(self) -> tuple[Value, ...] | None:
        """Return all values in order, or None where there are too many to list."""
        step = self.step or (1 if self.whole else None)
        if step is None or not (self.high - self.low) / step < _MOST_VALUES:
            return None
        count = math.floor((self.high - self.low) / step + _ROUNDING) + 1
        points = (self.low + step * point for point in range(count))
        return tuple(int(point) if self.whole else round(point, 12) for point in points)

    def distribution(self) -> BaseDistribution:
        """Return Optuna's form of the range."""
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: BaseTrial, path: str) -> Value:
        """Ask the trial for a number of the range."""
        if self.whole:
            return trial.suggest_int(path, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(path, self.low, self.high, step=self.step, log=self.log)

    def __str__(self) -> str:
        step = f" in steps of {self.step:g}" if self.step else ""
        return f"{written(self.low)} to {written(self.high)}{step}{', log' if self.log else ''}"


@dataclass(frozen=True, slots=True)
class Choices:
    """A few values without order."""

    options: tuple[Value, ...]

    @property
    def kind(self) -> str:
        """The type's name in YAML."""
        return "categorical"

    @property
    def smallest(self) -> float:
        """The smallest number among the choices."""
        return min(option for option in self.options if isinstance(option, int | float))

    @property
    def largest(self) -> float:
        """The largest number among the choices."""
        return max(option for option in self.options if isinstance(option, int | float))

    def resolved(self, blocks: int) -> Self:
        """Return the choices with ``all`` replaced by the number of blocks, which may be among them already."""
        return replace(self, options=tuple(dict.fromkeys(_resolved(option, blocks) for option in self.options)))

    def values(self) -> tuple[Value, ...] | None:
        """Return all values in the order given."""
        return self.options

    def distribution(self) -> BaseDistribution:
        """Return Optuna's form of the choices."""
        return CategoricalDistribution(self.options)

    def suggest(self, trial: BaseTrial, path: str) -> Value:
        """Ask the trial for one of the choices."""
        chosen: Value = trial.suggest_categorical(path, self.options)
        return chosen

    def __str__(self) -> str:
        return ", ".join(written(option) for option in self.options)


Domain = Range | Choices


@dataclass(frozen=True, slots=True)
class Condition:
    """What another dimension has to be: ``among`` some values, or from ``minimum`` to ``maximum``."""

    path: str
    among: tuple[Value, ...] = ()
    minimum: float = -math.inf
    maximum: float = math.inf

    def holds(self, params: Mapping[str, Value]) -> bool:
        """Tell whether the condition holds; a dimension that is itself inactive never fulfils one."""
        return self.path in params and self.admits(params[self.path])

    def admits(self, value: Value) -> bool:
        """Tell whether ``value`` of the other dimension fulfils the condition."""
        if self.among:
            return value in self.among
        return isinstance(value, int | float) and self.minimum <= value <= self.maximum

    def resolved(self, blocks: int) -> Self:
        """Return the condition with ``all`` replaced by the number of blocks."""
        if self.path != "depth":
            return self
        among = tuple(_resolved(value, blocks) for value in self.among)
        return replace(self, among=among, minimum=_resolved(self.minimum, blocks))

    def possible(self, domain: Domain) -> bool:
        """Tell whether any value of the other dimension's domain fulfils the condition."""
        values = domain.values()
        if values is not None:
            return any(self.admits(value) for value in values)
        assert isinstance(domain, Range)
        if self.among:
            return any(isinstance(v, int | float) and domain.low <= v <= domain.high for v in self.among)
        return self.minimum <= domain.high and domain.low <= self.maximum

    def __str__(self) -> str:
        if self.among:
            return f"{self.path} is {' or '.join(written(value) for value in self.among)}"
        low = "" if math.isinf(self.minimum) and self.minimum < 0 else f"{written(self.minimum)} ≤ "
        high = "" if math.isinf(self.maximum) else f" ≤ {written(self.maximum)}"
        return f"{low}{self.path}{high}"


@dataclass(frozen=True, slots=True)
class Dimension:
    """A setting that is searched: its path in TrialConfig is also its name in Optuna."""

    path: str
    domain: Domain
    when: tuple[Condition, ...] = ()
    line: int = 0

    def active(self, params: Mapping[str, Value]) -> bool:
        """Tell whether the dimension is searched, given the values of those before it."""
        return all(condition.holds(params) for condition in self.when)

    def resolved(self, blocks: int) -> Self:
        """Return the dimension with ``all`` replaced by the number of blocks."""
        domain = self.domain.resolved(blocks) if self.path == "depth" else self.domain
        return replace(self, domain=domain, when=tuple(condition.resolved(blocks) for condition in self.when))


@dataclass(frozen=True, slots=True)
class FixedSetting:
    """A setting with one value in all trials."""

    path: str
    value: Any
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path} = {written(self.value)}"


def _resolved(value: Any, blocks: int) -> Any:
    return blocks if value == ALL else value


def written(value: Value) -> str:
    """Return a value as a user would write it."""
    if isinstance(value, float):
        return "all" if value == ALL else f"{value:g}"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
