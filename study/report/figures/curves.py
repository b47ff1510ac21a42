"""Training and validation step by step, one panel per depth."""

from collections.abc import Sequence
from math import ceil

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from study.analysis import Curve
from study.report.figures.axes import whole_steps
from study.report.style import PERCENT, QUIET, TRAIN, VALIDATION, band, rounded, styled

MAX_PANELS = 12


def curve_panels(curves: Sequence[Curve], columns: int, names: Sequence[str] = ()) -> go.Figure:
    """One small panel per depth, or per one of ``names``: train (dashed) and validation (solid) accuracy over steps.

    Lines are medians, bands quartiles; a dotted line marks the end of the head phase. With more than twelve depths,
    twelve evenly spaced ones are shown.
    """
    shown = evenly_spaced(curves)
    titles = list(names) or [f"depth {curve.depth}" for curve in shown]
    rows = ceil(len(shown) / columns)
    drawing = make_subplots(
        rows=rows,
        cols=columns,
        shared_yaxes="all",
        shared_xaxes="all",
        horizontal_spacing=0.025,
        vertical_spacing=min(0.18, 0.32 / rows),
        subplot_titles=[f"{name} · n = {curve.n}" for name, curve in zip(titles, shown, strict=True)],
    )
    for place, curve in enumerate(shown):
        where = {"row": place // columns + 1, "col": place % columns + 1}
        for trace in _panel(curve, titles[place], first=place == 0):
            drawing.add_trace(trace, **where)
        drawing.add_vline(x=curve.head_steps + 0.5, line={"dash": "dot", "width": 1, "color": QUIET}, **where)
    drawing.update_annotations(font_size=12)
    styled(drawing, 110 + 190 * rows, legend={"y": 1 + 34 / (190 * rows)}, margin={"t": 70})
    drawing.update_yaxes(tickformat=PERCENT)
    drawing.update_xaxes(title_text="step", row=rows)
    drawing.update_xaxes(**whole_steps(max(curve.steps[-1] for curve in shown), ticks=5))
    return drawing


def evenly_spaced(curves: Sequence[Curve]) -> list[Curve]:
    """Return at most ``MAX_PANELS`` of them, the first and the last included."""
    if len(curves) <= MAX_PANELS:
        return list(curves)
    return [curves[round(place)] for place in np.linspace(0, len(curves) - 1, MAX_PANELS)]


def _panel(curve: Curve, title: str, *, first: bool) -> list[go.Scatter]:
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
                hovertemplate=f"{title}, step %{{x}}: {name} %{{y:.1%}}<extra></extra>",
            )
        )
    return traces
