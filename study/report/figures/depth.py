"""Accuracy and gap at each depth."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from study.analysis import DepthRow, Estimate, Withheld
from study.analysis.best_of_k import EqualDepths
from study.analysis.floor import FloorScores
from study.analysis.history import TrialPoint
from study.analysis.verdict import Verdict
from study.report.figures.axes import DEPTH_AXIS, add_trials, errors, whole_ticks
from study.report.style import PERCENT, QUIET, TRAIN, VALIDATION, figure, rounded

_JITTER = 0.24
"""Distance, in depths, to which points of one depth are spread."""


def gap_by_depth(depths: Sequence[DepthRow]) -> go.Figure:
    """Draw the mean gap of each depth at the best and at the last epoch, with t intervals."""
    return _gaps(
        [row.depth for row in depths],
        [row.n for row in depths],
        {"best epoch": [row.gap_best for row in depths], "last epoch": [row.gap_last for row in depths]},
        mode="markers",
    )


def _gaps(
    depths: Sequence[int], counts: Sequence[int], gaps: Mapping[str, Sequence[Estimate]], *, mode: str
) -> go.Figure:
    drawing = figure(320, yaxis_title="gap, in points of accuracy", xaxis_title=DEPTH_AXIS)
    looks = ((VALIDATION, "circle", "solid", -0.1), (TRAIN, "square", "dash", 0.1))
    for (name, estimates), (color, symbol, dash, shift) in zip(gaps.items(), looks, strict=True):
        drawing.add_scatter(
            x=rounded(depth + shift for depth in depths),
            y=rounded(100 * gap.value for gap in estimates),
            error_y=errors(estimates, 100),
            customdata=list(zip(depths, counts, strict=True)),
            name=f"at the {name}",
            mode=mode,
            line={"color": color, "width": 1, "dash": dash},
            marker={"color": color, "symbol": symbol, "size": 9},
            hovertemplate=f"depth %{{customdata[0]}}, {name}: %{{y:.1f}} points, n = %{{customdata[1]}}<extra></extra>",
        )
    drawing.update_xaxes(**whole_ticks(depths[-1], ticks=14))
    return drawing


def accuracy_by_depth(
    depths: Sequence[DepthRow], history: Sequence[TrialPoint], floor: FloorScores | Withheld
) -> go.Figure:
    """Draw the validation accuracy of every trial at its best epoch, the best of each depth, and the floor (a line)."""
    drawing = figure(320, yaxis_title="validation accuracy", xaxis_title=DEPTH_AXIS)
    # The golden ratio spreads any run of trial numbers evenly to both sides of their depth.
    add_trials(drawing, history, lambda point: point.depth + _JITTER * (2 * (point.number * 0.6180339887 % 1) - 1), 0.8)
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
    _add_floor(drawing, depths[0].depth, depths[-1].depth, floor)
    drawing.update_yaxes(tickformat=PERCENT)
    drawing.update_xaxes(**whole_ticks(depths[-1].depth, ticks=14))
    return drawing


def _add_floor(drawing: go.Figure, first: int, last: int, floor: FloorScores | Withheld) -> None:
    if isinstance(floor, FloorScores):
        drawing.add_scatter(
            x=[first - 0.5, last + 0.5],
            y=rounded([floor.accuracy.value] * 2),
            name="floor",
            mode="lines",
            line={"color": QUIET, "dash": "dash", "width": 2},
            hovertemplate="floor: linear model on frozen features, %{y:.1%}<extra></extra>",
        )


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


def verdict_accuracy(verdict: Verdict, floor: FloorScores | Withheld) -> go.Figure:
    """Draw the curve of expected accuracy over depth with its intervals, and the floor; a diamond is recommended."""
    drawing = figure(320, yaxis_title="accuracy on new images", xaxis_title=DEPTH_AXIS)
    chosen = [row for row in verdict.by_depth if row.depth == verdict.recommended_depth]
    looks = (
        ("one training, 95% interval", verdict.by_depth, "lines+markers", "circle", 9),
        ("recommended", chosen, "markers", "diamond", 15),
    )
    for name, rows, mode, symbol, size in looks:
        drawing.add_scatter(
            x=[row.depth for row in rows],
            y=rounded(row.accuracy.value for row in rows),
            error_y=errors([row.accuracy for row in rows]) if name != "recommended" else None,
            customdata=[[row.trainings, f"{row.probability_best:.0%}"] for row in rows],
            name=name,
            mode=mode,
            line={"color": VALIDATION, "width": 1},
            marker={"symbol": symbol, "size": size, "color": TRAIN if name == "recommended" else VALIDATION},
            hovertemplate="depth %{x}: %{y:.1%}, best with probability %{customdata[1]}, "
            "%{customdata[0]} trainings<extra></extra>",
        )
    _add_floor(drawing, verdict.by_depth[0].depth, verdict.by_depth[-1].depth, floor)
    drawing.update_yaxes(tickformat=PERCENT)
    drawing.update_xaxes(**whole_ticks(verdict.by_depth[-1].depth, ticks=14))
    return drawing


def verdict_gap(verdict: Verdict) -> go.Figure:
    """Draw the curves of the gap over depth with their intervals, at the epoch that is kept and at the last one."""
    return _gaps(
        [row.depth for row in verdict.by_depth],
        [row.trainings for row in verdict.by_depth],
        {
            "epoch that is kept": [row.gap for row in verdict.by_depth],
            "last epoch": [row.gap_last for row in verdict.by_depth],
        },
        mode="lines+markers",
    )
