"""Several studies: accuracy and gap over the share of blocks that is trained."""

from collections.abc import Callable, Mapping, Sequence

import plotly.graph_objects as go

from study.analysis import DepthRow, Estimate
from study.report.figures.axes import errors
from study.report.style import PERCENT, SERIES, figure, rounded

_SYMBOLS = ("circle", "square", "diamond", "x", "circle-open")


def accuracy_of_studies(studies: Mapping[str, Sequence[DepthRow]]) -> go.Figure:
    """Draw the mean validation accuracy of each depth at the best epoch, with t intervals over trials."""
    return _by_fraction(studies, "validation accuracy", lambda row: row.accuracy)


def gap_of_studies(studies: Mapping[str, Sequence[DepthRow]]) -> go.Figure:
    """Draw the mean gap of each depth at the last epoch, with t intervals over trials."""
    return _by_fraction(studies, "gap at the last epoch", lambda row: row.gap_last)


def _by_fraction(
    studies: Mapping[str, Sequence[DepthRow]], title: str, pick: Callable[[DepthRow], Estimate]
) -> go.Figure:
    drawing = figure(380, yaxis_title=title, xaxis_title="depth fraction (blocks trained, of all)")
    for index, (name, rows) in enumerate(studies.items()):
        color, estimates = SERIES[index % len(SERIES)], [pick(row) for row in rows]
        drawing.add_scatter(
            x=rounded(row.depth_fraction + 0.006 * (index - len(studies) / 2) for row in rows),
            y=rounded(estimate.value for estimate in estimates),
            error_y=errors(estimates),
            customdata=[[row.depth, row.n] for row in rows],
            name=name,
            mode="markers",
            marker={"color": color, "symbol": _SYMBOLS[index % len(_SYMBOLS)], "size": 9},
            hovertemplate=f"{name}, depth %{{customdata[0]}}: %{{y:.1%}}, n = %{{customdata[1]}}<extra></extra>",
        )
    drawing.update_xaxes(tickformat=PERCENT)
    drawing.update_yaxes(tickformat=PERCENT)
    return drawing
