"""Accuracy and gap at each depth."""

from collections.abc import Sequence

import plotly.graph_objects as go

from study.analysis import DepthRow
from study.analysis.best_of_k import EqualDepths
from study.analysis.history import TrialPoint
from study.report.figures.axes import DEPTH_AXIS, add_trials, errors, whole_ticks
from study.report.style import PERCENT, TRAIN, VALIDATION, figure, rounded

_JITTER = 0.24
"""Distance, in depths, to which points of one depth are spread."""


def gap_by_depth(depths: Sequence[DepthRow]) -> go.Figure:
    """Draw the mean gap of each depth at the best and at the last epoch, with t intervals."""
    drawing = figure(360, yaxis_title="gap, in points of accuracy", xaxis_title=DEPTH_AXIS)
    series = (
        ("best epoch", VALIDATION, "circle", -0.1, [row.gap_best for row in depths]),
        ("last epoch", TRAIN, "square", 0.1, [row.gap_last for row in depths]),
    )
    for name, color, symbol, shift, gaps in series:
        drawing.add_scatter(
            x=rounded(row.depth + shift for row in depths),
            y=rounded(100 * gap.value for gap in gaps),
            error_y=errors(gaps, 100),
            customdata=[[row.depth, row.n] for row in depths],
            name=f"at the {name}",
            mode="lines+markers",
            line={"color": color, "width": 1, "dash": "solid" if symbol == "circle" else "dash"},
            marker={"color": color, "symbol": symbol, "size": 9},
            hovertemplate=f"depth %{{customdata[0]}}, {name}: %{{y:.1f}} points, n = %{{customdata[1]}}<extra></extra>",
        )
    drawing.update_xaxes(**whole_ticks(depths[-1].depth, ticks=14))
    return drawing


def accuracy_by_depth(depths: Sequence[DepthRow], history: Sequence[TrialPoint]) -> go.Figure:
    """Draw the validation accuracy of every trial at its best epoch, and the best of each depth with its interval."""
    drawing = figure(380, yaxis_title="validation accuracy", xaxis_title=DEPTH_AXIS)
    # The golden ratio spreads any run of trial numbers evenly to both sides of their depth.
    add_trials(
        drawing, history, lambda point: point.depth + _JITTER * (2 * (point.number * 0.6180339887 % 1) - 1), 0.55
    )
    drawing.add_scatter(
        x=[row.depth for row in depths],
        y=rounded(row.best.value for row in depths),
        error_y=errors([row.best for row in depths]),
        customdata=[[row.best_trial, row.n] for row in depths],
        name="best completed, 95% interval",
        mode="markers",
        marker={"symbol": "diamond", "color": TRAIN, "size": 10},
        hovertemplate="depth %{x}: best %{y:.1%}, trial %{customdata[0]} of n = %{customdata[1]}<extra></extra>",
    )
    drawing.update_yaxes(tickformat=PERCENT)
    drawing.update_xaxes(**whole_ticks(depths[-1].depth, ticks=14))
    return drawing


def best_of_k(equal: EqualDepths) -> go.Figure:
    """Draw the median best score of k trials of each depth, with its exact interval."""
    drawing = figure(
        340,
        yaxis_title="score" if equal.k == 1 else f"best score of {equal.k}",
        xaxis_title=DEPTH_AXIS,
        showlegend=False,
    )
    depths = equal.depths
    drawing.add_scatter(
        x=[best.depth for best in depths],
        y=rounded(best.median.value for best in depths),
        error_y=errors([best.median for best in depths]),
        customdata=[[best.n, round(best.expected, 4)] for best in depths],
        mode="markers",
        marker={"symbol": "diamond", "color": VALIDATION, "size": 10},
        hovertemplate="depth %{x}: median %{y:.3f}, mean %{customdata[1]:.3f}, n = %{customdata[0]}<extra></extra>",
    )
    drawing.update_xaxes(**whole_ticks(depths[-1].depth, ticks=14))
    return drawing
