"""Studies side by side: accuracy and gap over the share of blocks that is trained."""

from collections.abc import Callable, Mapping, Sequence

import plotly.graph_objects as go

from study.analysis import DepthRow, Estimate
from study.report.figures.axes import errors
from study.report.style import PERCENT, SERIES, figure, rounded

_SYMBOLS = ("circle", "square", "diamond", "x", "circle-open")
_DASHES = ("solid", "dash", "dot")


def accuracy_of_studies(studies: Mapping[str, Sequence[DepthRow]]) -> go.Figure:
    """Mean validation accuracy at the best step of each depth, with t intervals over trials."""
    drawing = _by_fraction(studies, "validation accuracy", lambda row: row.accuracy)
    drawing.update_yaxes(tickformat=PERCENT)
    return drawing


def gap_of_studies(studies: Mapping[str, Sequence[DepthRow]]) -> go.Figure:
    """Mean gap at the last step of each depth, with t intervals over trials."""
    drawing = _by_fraction(studies, "gap at the last step", lambda row: row.gap_last)
    drawing.update_yaxes(tickformat=PERCENT)
    return drawing


def _by_fraction(
    studies: Mapping[str, Sequence[DepthRow]], title: str, pick: Callable[[DepthRow], Estimate]
) -> go.Figure:
    drawing = figure(380, yaxis_title=title, xaxis_title="depth fraction (blocks trained, of all)")
    for place, (name, rows) in enumerate(studies.items()):
        color, estimates = SERIES[place % len(SERIES)], [pick(row) for row in rows]
        drawing.add_scatter(
            x=rounded(row.depth_fraction + 0.006 * (place - len(studies) / 2) for row in rows),
            y=rounded(estimate.value for estimate in estimates),
            error_y=errors(estimates),
            customdata=[[row.depth, row.n] for row in rows],
            name=name,
            mode="lines+markers",
            line={"color": color, "width": 1.5, "dash": _DASHES[place % len(_DASHES)]},
            marker={"color": color, "symbol": _SYMBOLS[place % len(_SYMBOLS)], "size": 9},
            hovertemplate=f"{name}, depth %{{customdata[0]}}: %{{y:.1%}}, n = %{{customdata[1]}}<extra></extra>",
        )
    drawing.update_xaxes(tickformat=PERCENT)
    return drawing
