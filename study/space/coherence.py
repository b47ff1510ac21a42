"""Whether the settings of a space go together: no trial contradicts itself, and nothing is searched without effect."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import islice
from types import MappingProxyType
from typing import Any

from drft.config.trial_config import TrialConfig
from drft.config.validation import CHECKED_SETTINGS, contradictions
from study.space.backbones import NAME
from study.space.bound import BoundSpace, assignments
from study.space.dimension import Dimension, FixedSetting, Value, written
from study.space.document import SpaceErrors
from study.space.settings import DEPTH_FRACTION

_MOST_COMBINATIONS = 5000
"""So many are looked at; a space has a few hundred."""

_MOST_VALUES = 50
"""Of a range with more values the ends are looked at."""

_ACTS_ONLY_WITH: Mapping[str, tuple[str, tuple[Value, ...]]] = MappingProxyType(
    {
        "depth_phase.lora_rank": ("depth_phase.parameters", ("lora",)),
        "depth_phase.lora_alpha": ("depth_phase.parameters", ("lora",)),
        "loss.effective_beta": ("loss.class_weighting", ("effective_number",)),
        "head_phase.probe_l2": ("head_phase.init", ("linear_probe",)),
    }
)
"""Settings that have an effect only where another one has one of some values."""


def check_coherence(faults: SpaceErrors, space: BoundSpace, fixed: Sequence[FixedSetting]) -> None:
    """Find what single settings do not show.

    Args:
        faults: takes down what is found.
        space: the space, on its backbone.
        fixed: what it fixes.
    """
    lines = {each.path: each.line for each in fixed} | {each.path: each.line for each in space.dimensions}
    for path, problem in (*_without_effect(space, lines), *_contradictions(space)):
        faults.add(lines.get(path, 1), f"{path}: {problem}")


def _without_effect(space: BoundSpace, named: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield what the space fixes or searches that acts in no trial, or is searched where it does not act."""
    dimensions = {dimension.path: dimension for dimension in space.dimensions}
    for path, (other, wanted) in _ACTS_ONLY_WITH.items():
        values, said = _values(space, other), f"acts only where {other} is {' or '.join(map(written, wanted))}"
        changed = path in dimensions or _setting(space.base, path) != _setting(TrialConfig(), path)
        if path in named and changed and values.isdisjoint(wanted):
            yield path, f"{said}, which is so in no trial; leave it out, or set that"
        elif path in dimensions and not (values <= set(wanted) or _asks_for(dimensions[path], other, wanted)):
            yield path, f"{said}; search it below that with when: {{{other}: {written(wanted[0])}}}"


def _values(space: BoundSpace, path: str) -> set[Value]:
    """Return all values that a setting can have in a trial."""
    base = _setting(space.base, path)
    for dimension in space.dimensions:
        if dimension.path == path:
            return {*(dimension.domain.values() or ()), *([base] if dimension.when else [])}
    return {base}


def _setting(config: TrialConfig, path: str) -> Any:
    return reduce(getattr, path.split("."), config)


def _asks_for(dimension: Dimension, other: str, wanted: Sequence[Value]) -> bool:
    return any(
        condition.path == other and condition.among and set(condition.among) <= set(wanted)
        for condition in dimension.when
    )


def _contradictions(space: BoundSpace) -> Iterator[tuple[str, str]]:
    """Yield the first contradiction of each setting that a trial can come to."""
    found: dict[str, str] = {}
    for config in islice(_configs(space), _MOST_COMBINATIONS):
        for path, why in contradictions(config):
            found.setdefault(path, why)
    searched = {dimension.path for dimension in space.dimensions}.intersection(CHECKED_SETTINGS)
    hint = "; trials can come to this: keep them from it with a when" if searched else ""
    yield from ((path, why + hint) for path, why in found.items())


def _configs(space: BoundSpace) -> Iterator[TrialConfig]:
    """Yield a configuration for every combination of the settings that can contradict each other."""
    wanted = {*CHECKED_SETTINGS, DEPTH_FRACTION, NAME}
    for dimension in reversed(space.dimensions):  # conditions look at dimensions above them
        if dimension.path in wanted:
            wanted.update(condition.path for condition in dimension.when)
    dimensions = [dimension for dimension in space.dimensions if dimension.path in wanted]
    return (space.configured(params) for params in assignments(dimensions, {}, _looked_at))


def _looked_at(dimension: Dimension) -> Sequence[Value]:
    domain = dimension.domain
    values = domain.values() or ()
    return values if 0 < len(values) <= _MOST_VALUES else (domain.smallest, domain.largest)
