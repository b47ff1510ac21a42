"""Accuracy and gap at each depth."""

from collections.abc import Sequence

import plotly.graph_objects as go

from study.analysis import DepthRow, EqualDepths, TrialPoint
from study.report.figures.axes import DEPTH_AXIS, STATE_NAMES, errors, spread, whole_steps
from study.report.style import PERCENT, QUIET, TRAIN, VALIDATION, figure, rounded


def gap_by_depth(depths: Sequence[DepthRow]) -> go.Figure:
    """Mean gap of each depth at the best and at the last step, with t intervals."""
    drawing = figure(360, yaxis_title="gap, in points of accuracy", xaxis_title=DEPTH_AXIS)
    series = (
        ("best step", VALIDATION, "circle", -0.1, [row.gap_best for row in depths]),
        ("last step", TRAIN, "square", 0.1, [row.gap_last for row in depths]),
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
    drawing.update_xaxes(**whole_steps(depths[-1].depth, ticks=14))
    return drawing


def accuracy_by_depth(depths: Sequence[DepthRow], history: Sequence[TrialPoint]) -> go.Figure:
    """Validation accuracy of every trial at its best step, and the best of each depth with its interval."""
    drawing = figure(380, yaxis_title="validation accuracy", xaxis_title=DEPTH_AXIS)
    for state, symbol, color in (("PRUNED", "circle-open", QUIET), ("COMPLETE", "circle", VALIDATION)):
        points = [point for point in history if point.state == state]
        drawing.add_scatter(
            x=rounded(point.depth + spread(point.number) for point in points),
            y=rounded(point.accuracy for point in points),
            customdata=[[point.number, point.depth] for point in points],
            name=STATE_NAMES[state],
            mode="markers",
            marker={"symbol": symbol, "color": color, "size": 7, "opacity": 0.55},
            hovertemplate="trial %{customdata[0]}, depth %{customdata[1]}: %{y:.1%}<extra></extra>",
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
    drawing.update_xaxes(**whole_steps(depths[-1].depth, ticks=14))
    return drawing


def best_of_k(found: EqualDepths) -> go.Figure:
    """Median best score of k trials of each depth, with its exact interval."""
    drawing = figure(
        340,
        yaxis_title="score" if found.k == 1 else f"best score of {found.k}",
        xaxis_title=DEPTH_AXIS,
        showlegend=False,
    )
    depths = found.depths
    drawing.add_scatter(
        x=[best.depth for best in depths],
        y=rounded(best.median.value for best in depths),
        error_y=errors([best.median for best in depths]),
        customdata=[[best.n, round(best.expected, 4)] for best in depths],
        mode="markers",
        marker={"symbol": "diamond", "color": VALIDATION, "size": 10},
        hovertemplate="depth %{x}: median %{y:.3f}, mean %{customdata[1]:.3f}, n = %{customdata[0]}<extra></extra>",
    )
    drawing.update_xaxes(**whole_steps(depths[-1].depth, ticks=14))
    return drawing
