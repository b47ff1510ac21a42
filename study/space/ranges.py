"""What can be wrong with a range of numbers."""

import math
from collections.abc import Iterator

from study.space.dimension import Range, written
from study.space.settings import checked

_MOST_PROBES = 1000
_INSIDE = 0.382
"""Where between low and high a range is tried whose values cannot all be: at no round number."""

_ROUNDING = 1e-6
"""Share of a step by which floating point may miss the end of a range."""


def range_faults(path: str, domain: Range) -> list[tuple[str, str]]:
    """Return the keys of a range that are wrong, each with what is wrong; its values are tried in the setting."""
    return list(_shape_faults(domain)) or list(_value_faults(path, domain))


def _shape_faults(domain: Range) -> Iterator[tuple[str, str]]:
    low, high, step = domain.low, domain.high, domain.step
    if low > high:
        yield "low", f"low {written(low)} is above high {written(high)}; swap them"
    if domain.log and low <= 0:
        yield "low", f"a log range starts above 0, got low {low:g}; raise low, or remove log"
    if domain.log and step is not None:
        yield "step", "a log range has no step; remove step, or list the values with type: categorical"
    if step is not None and step <= 0:
        yield "step", f"step should be above 0, got {step:g}"
    elif step is not None and not _divides(step, high - low):
        yield "step", f"steps of {step:g} from {written(low)} do not reach {written(high)}; change step or high"


def _divides(step: float, width: float) -> bool:
    """Tell whether a whole number of steps fills the width; before ``all`` is known they are given the benefit."""
    steps = width / step
    return not math.isfinite(steps) or abs(steps - round(steps)) < _ROUNDING


def _value_faults(path: str, domain: Range) -> Iterator[tuple[str, str]]:
    """Yield the first value the setting refuses: an end of the range, or one within."""
    for key, value in _probes(domain):
        _, problem = checked(path, value)
        if problem is not None:
            yield key, problem
            return


def _probes(domain: Range) -> Iterator[tuple[str, float]]:
    ends = [("low", domain.low), ("high", domain.high)]
    yield from ((key, value) for key, value in ends if math.isfinite(value))
    if not math.isfinite(domain.high - domain.low) or domain.low == domain.high:
        return
    values = domain.values()
    if values is not None and len(values) <= _MOST_PROBES:
        yield from (("type", float(value)) for value in values if isinstance(value, int | float))
    else:
        inside = domain.low + (domain.high - domain.low) * _INSIDE
        yield "type", round(inside) if domain.whole else inside
