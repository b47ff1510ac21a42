"""Training and validation accuracy by epoch, one panel per depth."""

from collections.abc import Sequence
from math import ceil

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from study.analysis import Curve
from study.report.figures.axes import whole_ticks
from study.report.style import PERCENT, QUIET, TRAIN, VALIDATION, band, rounded, styled

MAX_PANELS = 12


def curve_panels(curves: Sequence[Curve], columns: int, names: Sequence[str] = ()) -> go.Figure:
    """Draw training (dashed) and validation (solid) accuracy over epochs, one panel per curve.

    Lines are medians, bands quartiles; a dotted line marks the end of the head phase. Of more than ``MAX_PANELS``
    curves, as many evenly spaced ones are shown.

    Args:
        curves: one curve per depth, or per entry of ``names``.
        columns: panels in a row.
        names: titles of the panels; by default, their depths.
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
    for index, curve in enumerate(shown):
        panel = {"row": index // columns + 1, "col": index % columns + 1}
        for trace in _panel(curve, titles[index], first=index == 0):
            drawing.add_trace(trace, **panel)
        drawing.add_vline(x=curve.head_steps + 0.5, line={"dash": "dot", "width": 1, "color": QUIET}, **panel)
    drawing.update_annotations(font_size=12)
    height = 190 * rows if len(shown) > 1 else 250
    styled(drawing, 110 + height, legend={"y": 1 + 34 / height}, margin={"t": 70})
    drawing.update_yaxes(tickformat=PERCENT)
    drawing.update_xaxes(title_text="epoch", row=rows)
    drawing.update_xaxes(**whole_ticks(max(curve.steps[-1] for curve in shown), ticks=5))
    return drawing


def evenly_spaced(curves: Sequence[Curve]) -> list[Curve]:
    """Return at most ``MAX_PANELS`` curves, including the first and the last."""
    if len(curves) <= MAX_PANELS:
        return list(curves)
    return [curves[round(index)] for index in np.linspace(0, len(curves) - 1, MAX_PANELS)]


def _panel(curve: Curve, title: str, *, first: bool) -> list[go.Scatter]:
    series = (("train", TRAIN, "dash", curve.train), ("validation", VALIDATION, "solid", curve.validation))
    traces = []
    for name, color, dash, quartiles in series:
        low, median, high = (rounded(column) for column in zip(*quartiles, strict=True))
        around = [*curve.steps, *curve.steps[::-1]]
        fill = {"fill": "toself", "fillcolor": band(color), "line": {"width": 0}, "mode": "lines"}
        traces.append(go.Scatter(x=around, y=[*high, *low[::-1]], hoverinfo="skip", showlegend=False, **fill))
        traces.append(
            go.Scatter(
                x=list(curve.steps),
                y=median,
                name=f"{name} accuracy",
                legendgroup=name,
                showlegend=first,
                mode="lines",
                line={"color": color, "dash": dash, "width": 2.2},
                hovertemplate=f"{title}, epoch %{{x}}: {name} %{{y:.1%}}<extra></extra>",
            )
        )
    return traces
