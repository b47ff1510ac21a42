"""Check a range of numbers: its shape, and its values in the setting that it varies."""

import math
from collections.abc import Iterator

from study.space.dimension import ROUNDING, Range, format_value
from study.space.settings import check_value

_MOST_PROBES = 1000
"""Of a range with more values, only the ends and one value between them are checked."""

_BETWEEN = 0.382
"""Position of that value between low (0) and high (1). It is no round number, so that grids do not contain it."""


def range_faults(path: str, domain: Range) -> list[tuple[str, str]]:
    """Return the wrong keys of a range, each with its problem. The values are checked if the shape is right."""
    return list(_shape_faults(domain)) or list(_value_faults(path, domain))


def _shape_faults(domain: Range) -> Iterator[tuple[str, str]]:
    low, high, step = domain.low, domain.high, domain.step
    if low > high:
        yield "low", f"low {format_value(low)} is above high {format_value(high)}; swap them"
    if domain.log and low <= 0:
        yield "low", f"a log range starts above 0, got low {low:g}; raise low, or remove log"
    if domain.log and step is not None:
        yield "step", "a log range has no step; remove step, or list the values with type: categorical"
    if step is None:
        return
    if step <= 0:
        yield "step", f"step should be above 0, got {step:g}"
        return
    steps = (high - low) / step  # infinite while `all` is not replaced by a number
    if math.isfinite(steps) and abs(steps - round(steps)) >= ROUNDING:
        problem = f"steps of {step:g} from {format_value(low)} do not reach {format_value(high)}"
        yield "step", f"{problem}; change step or high"


def _value_faults(path: str, domain: Range) -> Iterator[tuple[str, str]]:
    """Yield the first value that the setting refuses."""
    for key, value in _values_to_check(domain):
        _, problem = check_value(path, value)
        if problem is not None:
            yield key, problem
            return


def _values_to_check(domain: Range) -> Iterator[tuple[str, float]]:
    """Yield numbers of the range, each with the key that is wrong if the setting refuses it."""
    ends = [("low", domain.low), ("high", domain.high)]
    yield from ((key, value) for key, value in ends if math.isfinite(value))
    if not math.isfinite(domain.high - domain.low) or domain.low == domain.high:
        return
    values = domain.values()
    if values is not None and len(values) <= _MOST_PROBES:
        yield from (("type", float(value)) for value in values if isinstance(value, int | float))
    else:
        between = domain.low + (domain.high - domain.low) * _BETWEEN
        yield "type", round(between) if domain.whole else between
