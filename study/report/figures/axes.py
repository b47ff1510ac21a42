"""What figures share: axes of whole steps, error bars, and the place of a point among others of its depth."""

from collections.abc import Mapping, Sequence
from math import ceil
from types import MappingProxyType

from drft.config.trial_config import Metric
from study.analysis import Estimate
from study.report.style import DEPTH_SCALE, rounded

DEPTH_AXIS = "depth (blocks trained)"
STATE_NAMES: Mapping[str, str] = MappingProxyType({"COMPLETE": "completed", "PRUNED": "pruned"})

JITTER = 0.24
"""How far points of one depth are spread to either side, in depths."""


def whole_steps(last: int, ticks: int) -> dict[str, int]:
    """Return axis settings that tick whole numbers from 0 to ``last`` only, at most ``ticks`` after 0."""
    return {"tick0": 0, "dtick": max(1, ceil(last / ticks))}


def better_up(metric: Metric) -> dict[str, str]:
    """Return settings of an axis of scores as they are known: the better ones are above."""
    return {"autorange": "reversed"} if metric == "nll" else {}


def named(names: Sequence[str]) -> dict[str, object]:
    """Return axis settings that tick 0, 1, 2 ... with these names: points can be placed beside one another there."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": list(names),
        "range": [-0.5, len(names) - 0.5],
        "showgrid": False,
    }


def errors(estimates: Sequence[Estimate], scale: float = 1.0) -> dict[str, object]:
    """Return plotly's error bars for estimates; one without an interval has none."""
    ends = [(e.value if e.low is None else e.low, e.value if e.high is None else e.high) for e in estimates]
    return {
        "type": "data",
        "symmetric": False,
        "array": rounded(scale * (high - e.value) for (_, high), e in zip(ends, estimates, strict=True)),
        "arrayminus": rounded(scale * (e.value - low) for (low, _), e in zip(ends, estimates, strict=True)),
        "thickness": 1.5,
        "width": 5,
    }


def spread(number: int) -> float:
    """Place a trial beside its depth: the golden ratio spreads any run of numbers evenly."""
    return JITTER * (2 * ((number * 0.6180339887) % 1) - 1)


def depth_markers(depths: Sequence[int], size: int | Sequence[int] = 9) -> dict[str, object]:
    """Return plotly's markers for points that are coloured by depth, with the scale beside them."""
    return {
        "size": size,
        "opacity": 0.85,
        "color": list(depths),
        "colorscale": DEPTH_SCALE,
        "colorbar": {"title": {"text": "depth"}, "thickness": 10, "outlinewidth": 0, "tickformat": "d"},
    }
