"""Shared elements of figures: axes, error bars, diagonals and markers of trials."""

from collections.abc import Callable, Sequence
from math import ceil

import plotly.graph_objects as go

from drft.config.trial_config import Metric
from study.analysis import Estimate
from study.analysis.history import TrialPoint
from study.report.style import DEPTH_SCALE, QUIET, VALIDATION, rounded

DEPTH_AXIS = "depth (blocks trained)"


def whole_ticks(last: int, ticks: int) -> dict[str, int]:
    """Return axis settings with ticks at whole numbers from 0 to ``last`` only, at most ``ticks`` after 0."""
    return {"tick0": 0, "dtick": max(1, ceil(last / ticks))}


def better_up(metric: Metric) -> dict[str, str]:
    """Return settings of an axis of scores that put the better scores above."""
    return {"autorange": "reversed"} if metric == "nll" else {}


def named(names: Sequence[str]) -> dict[str, object]:
    """Return axis settings with these names at 0, 1, 2 ...; unlike categories, they allow points in between."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": list(names),
        "range": [-0.5, len(names) - 0.5],
        "showgrid": False,
    }


def errors(estimates: Sequence[Estimate], scale: float = 1.0) -> dict[str, object]:
    """Return plotly's error bars; an estimate without an interval has none."""
    ends = [(e.value if e.low is None else e.low, e.value if e.high is None else e.high) for e in estimates]
    return {
        "type": "data",
        "symmetric": False,
        "array": rounded(scale * (high - e.value) for (_, high), e in zip(ends, estimates, strict=True)),
        "arrayminus": rounded(scale * (e.value - low) for (low, _), e in zip(ends, estimates, strict=True)),
        "thickness": 1.5,
        "width": 5,
    }


def add_diagonal(drawing: go.Figure, low: float, high: float) -> None:
    """Draw the line on which both axes are equal."""
    line = {"color": QUIET, "dash": "dot", "width": 1}
    drawing.add_scatter(x=rounded([low, high]), y=rounded([low, high]), mode="lines", line=line, hoverinfo="skip")


def add_trials(
    drawing: go.Figure, history: Sequence[TrialPoint], x: Callable[[TrialPoint], float], opacity: float | None = None
) -> None:
    """Draw the accuracy of pruned and completed trials at ``x``."""
    for state, name, symbol, color in (
        ("PRUNED", "pruned", "circle-open", QUIET),
        ("COMPLETE", "completed", "circle", VALIDATION),
    ):
        points = [point for point in history if point.state == state]
        drawing.add_scatter(
            x=rounded(x(point) for point in points),
            y=rounded(point.accuracy for point in points),
            customdata=[[point.number, point.depth] for point in points],
            name=name,
            mode="markers",
            marker={"symbol": symbol, "color": color, "size": 7, "opacity": opacity},
            hovertemplate="trial %{customdata[0]}, depth %{customdata[1]}: %{y:.1%}<extra></extra>",
        )


def depth_markers(depths: Sequence[int], size: int | Sequence[int] = 9) -> dict[str, object]:
    """Return markers for points coloured by depth, with a colour bar."""
    ticks = whole_ticks(max(depths, default=0) - min(depths, default=0), 5)
    return {
        "size": size,
        "opacity": 0.85,
        "color": list(depths),
        "colorscale": DEPTH_SCALE,
        "colorbar": {"title": {"text": "depth"}, "thickness": 10, "outlinewidth": 0, **ticks},
    }
