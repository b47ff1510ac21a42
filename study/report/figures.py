"""Plotly figures, each drawn from a tuple of ``study.report.statistics`` and nothing else."""

from collections.abc import Sequence
from math import ceil

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from study.report.statistics import BestVersusLast, Curve, DepthRow, Estimate, Importance, Peak, TrialPoint
from study.report.style import DEPTH_SCALE, PERCENT, QUIET, TRAIN, VALIDATION, band, figure, rounded, styled

MAX_PANELS = 12
JITTER = 0.24
"""How far points of one depth are spread to either side, in depths."""


def curve_panels(curves: Sequence[Curve], columns: int) -> go.Figure:
    """One small panel per depth: train (dashed) and validation (solid) accuracy over steps.

    Lines are medians, bands quartiles; a dotted line marks the end of the head phase. With more than twelve depths,
    twelve evenly spaced ones are shown.
    """
    shown = evenly_spaced(curves)
    rows = ceil(len(shown) / columns)
    drawing = make_subplots(
        rows=rows,
        cols=columns,
        shared_yaxes="all",
        shared_xaxes="all",
        horizontal_spacing=0.025,
        vertical_spacing=min(0.18, 0.32 / rows),
        subplot_titles=[f"depth {curve.depth} · n = {curve.n}" for curve in shown],
    )
    for place, curve in enumerate(shown):
        where = {"row": place // columns + 1, "col": place % columns + 1}
        for trace in _panel(curve, first=place == 0):
            drawing.add_trace(trace, **where)
        drawing.add_vline(x=curve.head_steps + 0.5, line={"dash": "dot", "width": 1, "color": QUIET}, **where)
    drawing.update_annotations(font_size=12)
    styled(drawing, 110 + 190 * rows, legend={"y": 1 + 34 / (190 * rows)}, margin={"t": 70})
    drawing.update_yaxes(tickformat=PERCENT)
    drawing.update_xaxes(title_text="step", row=rows)
    drawing.update_xaxes(**whole_steps(max(curve.steps[-1] for curve in shown), ticks=5))
    return drawing


def gap_by_depth(depths: Sequence[DepthRow]) -> go.Figure:
    """Mean gap of each depth at the best and at the last step, with t intervals."""
    drawing = figure(360, yaxis_title="gap, in points of accuracy", xaxis_title=_DEPTH_AXIS)
    series = (
        ("best step", VALIDATION, "circle", -0.1, [row.gap_best for row in depths]),
        ("last step", TRAIN, "square", 0.1, [row.gap_last for row in depths]),
    )
    for name, color, symbol, shift, gaps in series:
        drawing.add_scatter(
            x=rounded(row.depth + shift for row in depths),
            y=rounded(100 * gap.value for gap in gaps),
            error_y=_errors(gaps, 100),
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
    drawing = figure(380, yaxis_title="validation accuracy", xaxis_title=_DEPTH_AXIS)
    for state, symbol, color in (("PRUNED", "circle-open", QUIET), ("COMPLETE", "circle", VALIDATION)):
        points = [point for point in history if point.state == state]
        drawing.add_scatter(
            x=rounded(point.depth + _spread(point.number) for point in points),
            y=rounded(point.accuracy for point in points),
            customdata=[[point.number, point.depth] for point in points],
            name=_STATES[state],
            mode="markers",
            marker={"symbol": symbol, "color": color, "size": 7, "opacity": 0.55},
            hovertemplate="trial %{customdata[0]}, depth %{customdata[1]}: %{y:.1%}<extra></extra>",
        )
    drawing.add_scatter(
        x=[row.depth for row in depths],
        y=rounded(row.best.value for row in depths),
        error_y=_errors([row.best for row in depths]),
        customdata=[[row.best_trial, row.n] for row in depths],
        name="best completed, 95% interval",
        mode="markers",
        marker={"symbol": "diamond", "color": TRAIN, "size": 10},
        hovertemplate="depth %{x}: best %{y:.1%}, trial %{customdata[0]} of n = %{customdata[1]}<extra></extra>",
    )
    drawing.update_yaxes(tickformat=PERCENT)
    drawing.update_xaxes(**whole_steps(depths[-1].depth, ticks=14))
    return drawing


def best_steps(peak: Peak) -> go.Figure:
    """How many trials had their best step where, by phase."""
    drawing = figure(300, yaxis_title="trials", xaxis_title="best step", bargap=0.15)
    for name, color, counts in (
        ("head phase", QUIET, [count.head for count in peak.counts]),
        ("depth phase", VALIDATION, [count.depth for count in peak.counts]),
    ):
        drawing.add_bar(
            x=[count.step for count in peak.counts],
            y=counts,
            name=f"peak in the {name}",
            marker={"color": color},
            hovertemplate="step %{x}: %{y} trials<extra></extra>",
        )
    drawing.update_xaxes(**whole_steps(len(peak.counts), ticks=12))
    drawing.add_vline(x=peak.best_step.value, line={"dash": "dash", "width": 2, "color": TRAIN})
    return drawing


def best_versus_last(compared: BestVersusLast) -> go.Figure:
    """Validation accuracy at the best step against the last: height above the diagonal is what the best step saved."""
    drawing = figure(
        380,
        xaxis_title="validation accuracy at the last step",
        yaxis_title="at the best step",
        showlegend=False,
    )
    pairs = compared.pairs
    ends = [min(pair.last for pair in pairs) - 0.01, max(pair.best for pair in pairs) + 0.01]
    diagonal = {"color": QUIET, "dash": "dot", "width": 1}
    drawing.add_scatter(x=rounded(ends), y=rounded(ends), mode="lines", line=diagonal, hoverinfo="skip")
    drawing.add_scatter(
        x=rounded(pair.last for pair in pairs),
        y=rounded(pair.best for pair in pairs),
        customdata=[[pair.trial, pair.depth] for pair in pairs],
        mode="markers",
        marker={
            "size": 9,
            "opacity": 0.85,
            "color": [pair.depth for pair in pairs],
            "colorscale": DEPTH_SCALE,
            "colorbar": {"title": {"text": "depth"}, "thickness": 10, "outlinewidth": 0, "tickformat": "d"},
        },
        hovertemplate="trial %{customdata[0]}, depth %{customdata[1]}: best %{y:.1%}, last %{x:.1%}<extra></extra>",
    )
    drawing.update_xaxes(tickformat=PERCENT)
    drawing.update_yaxes(tickformat=PERCENT)
    return drawing


def importance_bars(importance: Importance) -> go.Figure:
    """Share of importance of each dimension, grey where chance alone reaches as much."""
    drawing = figure(106 + 30 * len(importance.bars), xaxis_title="share of importance")
    color = VALIDATION if importance.target == "score" else TRAIN
    for name, paint, above in (("above chance", color, True), ("within chance", QUIET, False)):
        bars = [bar for bar in importance.bars if (bar.share > bar.chance) is above]
        drawing.add_bar(
            x=rounded(bar.share for bar in bars),
            y=[bar.dimension for bar in bars],
            orientation="h",
            name=name,
            showlegend=True,
            marker={"color": paint},
            customdata=rounded(bar.chance for bar in bars),
            hovertemplate="%{y}: %{x:.0%}; chance alone reaches %{customdata:.0%}<extra></extra>",
        )
    drawing.update_xaxes(tickformat=PERCENT, rangemode="tozero")
    order = [bar.dimension for bar in importance.bars[::-1]]
    drawing.update_yaxes(automargin=True, showgrid=False, categoryorder="array", categoryarray=order)
    return drawing


def trial_history(history: Sequence[TrialPoint]) -> go.Figure:
    """Every trial in its order, and the best completed one so far."""
    drawing = figure(320, xaxis_title="trial", yaxis_title="validation accuracy")
    for state, symbol, color in (("PRUNED", "circle-open", QUIET), ("COMPLETE", "circle", VALIDATION)):
        points = [point for point in history if point.state == state]
        drawing.add_scatter(
            x=[point.number for point in points],
            y=rounded(point.accuracy for point in points),
            customdata=[[point.depth] for point in points],
            name=_STATES[state],
            mode="markers",
            marker={"symbol": symbol, "color": color, "size": 7},
            hovertemplate="trial %{x}, depth %{customdata[0]}: %{y:.1%}<extra></extra>",
        )
    complete = [point for point in history if point.state == "COMPLETE"]
    drawing.add_scatter(
        x=[point.number for point in complete],
        y=rounded(np.maximum.accumulate([point.accuracy for point in complete])) if complete else [],
        name="best so far",
        mode="lines",
        line={"shape": "hv", "color": TRAIN, "width": 2},
        hoverinfo="skip",
    )
    drawing.update_yaxes(tickformat=PERCENT)
    return drawing


def whole_steps(last: int, ticks: int) -> dict[str, int]:
    """Return axis settings that tick whole numbers from 0 to ``last`` only, at most ``ticks`` after 0."""
    return {"tick0": 0, "dtick": max(1, ceil(last / ticks))}


def evenly_spaced(curves: Sequence[Curve]) -> list[Curve]:
    """Return at most ``MAX_PANELS`` of them, the first and the last included."""
    if len(curves) <= MAX_PANELS:
        return list(curves)
    return [curves[round(place)] for place in np.linspace(0, len(curves) - 1, MAX_PANELS)]


_DEPTH_AXIS = "depth (blocks trained)"
_STATES = {"COMPLETE": "completed", "PRUNED": "pruned"}


def _panel(curve: Curve, *, first: bool) -> list[go.Scatter]:
    series = (("train", TRAIN, "dash", curve.train), ("validation", VALIDATION, "solid", curve.validation))
    traces = []
    for name, color, dash, quartiles in series:
        low, middle, high = (rounded(column) for column in zip(*quartiles, strict=True))
        around = [*curve.steps, *curve.steps[::-1]]
        fill = {"fill": "toself", "fillcolor": band(color), "line": {"width": 0}, "mode": "lines"}
        traces.append(go.Scatter(x=around, y=[*high, *low[::-1]], hoverinfo="skip", showlegend=False, **fill))
        traces.append(
            go.Scatter(
                x=list(curve.steps),
                y=middle,
                name=f"{name} accuracy",
                legendgroup=name,
                showlegend=first,
                mode="lines",
                line={"color": color, "dash": dash, "width": 2.2},
                hovertemplate=f"depth {curve.depth}, step %{{x}}: {name} %{{y:.1%}}<extra></extra>",
            )
        )
    return traces


def _errors(estimates: Sequence[Estimate], scale: float = 1.0) -> dict[str, object]:
    ends = [(e.value if e.low is None else e.low, e.value if e.high is None else e.high) for e in estimates]
    return {
        "type": "data",
        "symmetric": False,
        "array": rounded(scale * (high - e.value) for (_, high), e in zip(ends, estimates, strict=True)),
        "arrayminus": rounded(scale * (e.value - low) for (low, _), e in zip(ends, estimates, strict=True)),
        "thickness": 1.5,
        "width": 5,
    }


def _spread(number: int) -> float:
    """Place a trial beside its depth: the golden ratio spreads any run of numbers evenly."""
    return JITTER * (2 * ((number * 0.6180339887) % 1) - 1)
