"""Check the settings of a space together: no trial may contradict itself, and every dimension needs an effect."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType

from drft.config.trial_config import TrialConfig
from drft.config.validation import CHECKED_SETTINGS, contradictions
from study.space.backbones import NAME
from study.space.bound import BoundSpace, assignments
from study.space.dimension import Dimension, FixedSetting, Value, format_value
from study.space.document import SpaceErrors
from study.space.settings import DEPTH_FRACTION, get_setting

_MOST_COMBINATIONS = 5000
"""At most so many combinations are checked; a usual space has a few hundred."""

_MOST_VALUES = 50
"""Of a range with more values, only the ends are checked."""

_ACTS_ONLY_WITH: Mapping[str, tuple[str, tuple[Value, ...]]] = MappingProxyType(
    {
        "depth_phase.lora_rank": ("depth_phase.parameters", ("lora",)),
        "depth_phase.lora_alpha": ("depth_phase.parameters", ("lora",)),
        "loss.effective_beta": ("loss.class_weighting", ("effective_number",)),
        "head_phase.probe_l2": ("head_phase.init", ("linear_probe",)),
    }
)
"""Settings that have an effect only if another setting has one of these values."""


def check_coherence(faults: SpaceErrors, space: BoundSpace, fixed: Sequence[FixedSetting]) -> None:
    """Add the faults that only several settings together show.

    Args:
        faults: the faults found so far.
        space: the space, on its backbones.
        fixed: the settings that it fixes.
    """
    lines = {setting.path: setting.line for setting in fixed}
    lines |= {dimension.path: dimension.line for dimension in space.dimensions}
    for path, problem in (*_settings_without_effect(space, lines), *_contradictions(space)):
        faults.add(lines.get(path, 1), f"{path}: {problem}")


def _settings_without_effect(space: BoundSpace, named: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield the settings without effect in any trial, and the dimensions without effect in some."""
    dimensions = {dimension.path: dimension for dimension in space.dimensions}
    for path, (other, needed) in _ACTS_ONLY_WITH.items():
        base_value = get_setting(space.base, other)
        values = {base_value}
        if other in dimensions:
            values = {*(dimensions[other].domain.values() or ()), *([base_value] if dimensions[other].when else [])}
        problem = f"has an effect only where {other} is {' or '.join(map(format_value, needed))}"
        changed = path in dimensions or get_setting(space.base, path) != get_setting(TrialConfig(), path)
        if path in named and changed and values.isdisjoint(needed):
            yield path, f"{problem}, which is so in no trial; leave it out, or set {other}"
        elif path in dimensions and not values <= set(needed) and not _requires(dimensions[path], other, needed):
            yield path, f"{problem}; search it below that with when: {{{other}: {format_value(needed[0])}}}"


def _requires(dimension: Dimension, other: str, values: Sequence[Value]) -> bool:
    """Return whether the dimension is active only where another one has one of these values."""
    return any(
        condition.path == other and condition.among and set(condition.among) <= set(values)
        for condition in dimension.when
    )


def _contradictions(space: BoundSpace) -> Iterator[tuple[str, str]]:
    """Yield the first contradiction of each setting that occurs in a trial."""
    reasons: dict[str, str] = {}
    for config in islice(_configs(space), _MOST_COMBINATIONS):
        for path, reason in contradictions(config):
            reasons.setdefault(path, reason)
    searched = {dimension.path for dimension in space.dimensions}.intersection(CHECKED_SETTINGS)
    hint = "; some trials would have these values: exclude them with a when" if searched else ""
    yield from ((path, reason + hint) for path, reason in reasons.items())


def _configs(space: BoundSpace) -> Iterator[TrialConfig]:
    """Yield a configuration for every combination of the settings that can contradict each other."""
    needed = {*CHECKED_SETTINGS, DEPTH_FRACTION, NAME}
    for dimension in reversed(space.dimensions):  # reversed, since conditions are on dimensions further up
        if dimension.path in needed:
            needed.update(condition.path for condition in dimension.when)
    dimensions = [dimension for dimension in space.dimensions if dimension.path in needed]
    return (space.configure(params) for params in assignments(dimensions, {}, _values_to_check))


def _values_to_check(dimension: Dimension) -> Sequence[Value]:
    values = dimension.domain.values() or ()
    return values if 0 < len(values) <= _MOST_VALUES else dimension.domain.bounds()
