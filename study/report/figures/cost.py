"""Score against training time."""

import plotly.graph_objects as go

from drft.config.trial_config import Metric
from study.analysis.cost import Cost
from study.report.figures.axes import better_up, depth_markers
from study.report.style import figure, rounded
from study.results.metric_names import displayed_score, metric_name

_WIDE = 20
"""Seconds that differ by more than this factor are drawn on a logarithmic axis."""

_TICKS = [digit * 10.0**power for power in range(-2, 7) for digit in (1, 2, 5)]
"""Explicit ticks, since plotly labels those between the powers of ten with a single digit."""


def cost_front(cost: Cost, metric: Metric) -> go.Figure:
    """Draw seconds and score of every completed trial, coloured by depth; those of the Pareto front are larger."""
    title = f"validation {metric_name(metric)}"
    drawing = figure(380, xaxis_title="seconds of training", yaxis_title=title, showlegend=False)
    front = {point.trial for point in cost.front}
    drawing.add_scatter(
        x=rounded(point.seconds for point in cost.points),
        y=rounded(displayed_score(metric, point.score) for point in cost.points),
        customdata=[[point.trial, point.depth] for point in cost.points],
        mode="markers",
        marker=depth_markers(
            [point.depth for point in cost.points], [13 if point.trial in front else 7 for point in cost.points]
        ),
        hovertemplate="trial %{customdata[0]}, depth %{customdata[1]}: %{y:.3f} in %{x:.1f} s<extra></extra>",
    )
    fastest, slowest = cost.points[0].seconds, cost.points[-1].seconds
    if 0 < _WIDE * fastest < slowest:  # a trial without a warm cache would push all others into a corner
        drawing.update_xaxes(type="log", tickvals=_TICKS, ticktext=[f"{tick:g}" for tick in _TICKS])
    else:
        drawing.update_xaxes(rangemode="tozero")
    drawing.update_yaxes(**better_up(metric))
    return drawing
