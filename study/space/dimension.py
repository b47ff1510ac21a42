"""One dimension of a search space: the setting that it varies, its values, and the conditions under which it does.

The names of the dataclasses' fields are part of ``Space.fingerprint``: renaming one would make resumed studies fail.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

Value = str | int | float | bool | None

ALL = math.inf
"""The value of ``all`` until a space is bound to a backbone: more blocks than any backbone has."""

_MOST_VALUES = 10_000
"""A range with more values than this counts as endless."""

ROUNDING = 1e-6
"""Part of a step by which the end of a range may be missed, because of floating-point errors."""

_TOLERANCE = 1e-9
"""Part of a number by which a float may miss the number of a condition: Optuna suggests 0.30000000000000004 for 0.3."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; integers only if ``whole``."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    @property
    def kind(self) -> str:
        """The type's name in YAML."""
        return "int" if self.whole else "float"

    def bounds(self) -> tuple[float, float]:
        """Return the smallest and the largest number of the range."""
        return self.low, self.high

    def resolve(self, blocks: int) -> Self:
        """Return the range with ``all`` replaced by the number of blocks."""
        return replace(self, low=_resolve(self.low, blocks), high=_resolve(self.high, blocks))

    def values(self) -> tuple[Value, ...] | None:
        """Return all values in order, or None if there are too many to list."""
        step = self.step or (1 if self.whole else None)
        if step is None or not (self.high - self.low) / step < _MOST_VALUES:
            return None
        count = math.floor((self.high - self.low) / step + ROUNDING) + 1
        points = (self.low + step * index for index in range(count))
        return tuple(int(point) if self.whole else round(point, 12) for point in points)

    def distribution(self) -> BaseDistribution:
        """Return the range as a distribution of Optuna."""
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: BaseTrial, path: str) -> Value:
        """Return a number of the range, suggested by the trial."""
        if self.whole:
            return trial.suggest_int(path, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(path, self.low, self.high, step=self.step, log=self.log)

    def __str__(self) -> str:
        step = f" in steps of {self.step:g}" if self.step else ""
        return f"{format_value(self.low)} to {format_value(self.high)}{step}{', log' if self.log else ''}"


@dataclass(frozen=True, slots=True)
class Choices:
    """A few values without order."""

    options: tuple[Value, ...]

    @property
    def kind(self) -> str:
        """The type's name in YAML."""
        return "categorical"

    def bounds(self) -> tuple[float, float]:
        """Return the smallest and the largest number among the choices."""
        numbers = [option for option in self.options if isinstance(option, int | float)]
        return min(numbers), max(numbers)

    def resolve(self, blocks: int) -> Self:
        """Return the choices with ``all`` replaced by the number of blocks, without duplicates."""
        return replace(self, options=tuple(dict.fromkeys(_resolve(option, blocks) for option in self.options)))

    def values(self) -> tuple[Value, ...] | None:
        """Return all values in the order of the YAML."""
        return self.options

    def distribution(self) -> BaseDistribution:
        """Return the choices as a distribution of Optuna."""
        return CategoricalDistribution(self.options)

    def suggest(self, trial: BaseTrial, path: str) -> Value:
        """Return one of the choices, suggested by the trial."""
        choice: Value = trial.suggest_categorical(path, self.options)
        return choice

    def __str__(self) -> str:
        return ", ".join(format_value(option) for option in self.options)


Domain = Range | Choices


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on another dimension: its value is ``among`` some values, or from ``minimum`` to ``maximum``."""

    path: str
    among: tuple[Value, ...] = ()
    minimum: float = -math.inf
    maximum: float = math.inf

    def holds(self, params: Mapping[str, Value]) -> bool:
        """Return whether the condition holds; it does not if the other dimension is inactive."""
        return self.path in params and self.accepts(params[self.path])

    def accepts(self, value: Value) -> bool:
        """Return whether the condition holds for this value of the other dimension; floats may miss it by rounding."""
        if self.among:
            return any(_equal(value, wanted) for wanted in self.among)
        if not isinstance(value, int | float):
            return False
        return self.minimum <= value <= self.maximum or _equal(value, self.minimum) or _equal(value, self.maximum)

    def resolve(self, blocks: int) -> Self:
        """Return the condition with ``all`` replaced by the number of blocks."""
        if self.path != "depth":
            return self
        among = tuple(_resolve(value, blocks) for value in self.among)
        return replace(self, among=among, minimum=_resolve(self.minimum, blocks))

    def can_hold(self, domain: Domain) -> bool:
        """Return whether the condition holds for any value of the other dimension's domain."""
        values = domain.values()
        if values is not None:
            return any(self.accepts(value) for value in values)
        assert isinstance(domain, Range)
        if self.among:
            return any(isinstance(v, int | float) and domain.low <= v <= domain.high for v in self.among)
        return self.minimum <= domain.high and domain.low <= self.maximum

    def __str__(self) -> str:
        if self.among:
            return f"{self.path} is {' or '.join(format_value(value) for value in self.among)}"
        low = "" if self.minimum == -math.inf else f"{format_value(self.minimum)} ≤ "
        high = "" if math.isinf(self.maximum) else f" ≤ {format_value(self.maximum)}"
        return f"{low}{self.path}{high}"


@dataclass(frozen=True, slots=True)
class Dimension:
    """A setting that is searched. Its path in ``TrialConfig`` is also its name in Optuna."""

    path: str
    domain: Domain
    when: tuple[Condition, ...] = ()
    line: int = 0

    def active(self, params: Mapping[str, Value]) -> bool:
        """Return whether the dimension is searched, given the values of the dimensions before it."""
        return all(condition.holds(params) for condition in self.when)

    def resolve(self, blocks: int) -> Self:
        """Return the dimension with ``all`` replaced by the number of blocks."""
        domain = self.domain.resolve(blocks) if self.path == "depth" else self.domain
        return replace(self, domain=domain, when=tuple(condition.resolve(blocks) for condition in self.when))


@dataclass(frozen=True, slots=True)
class FixedSetting:
    """A setting with one value in all trials."""

    path: str
    value: Any
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path} = {format_value(self.value)}"


def _equal(value: Value, wanted: Value) -> bool:
    """Return whether two values are the same; a float may be off by its rounding errors."""
    if isinstance(value, float) and isinstance(wanted, int | float):
        return math.isclose(value, wanted, rel_tol=_TOLERANCE)
    return value == wanted


def _resolve(value: Any, blocks: int) -> Any:
    return blocks if value == ALL else value


def format_value(value: Value) -> str:
    """Return a value as it is written in YAML."""
    if isinstance(value, float):
        return "all" if value == ALL else f"{value:g}"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
