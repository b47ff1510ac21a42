"""Importance of the dimensions."""

import plotly.graph_objects as go

from study.analysis.importance import Importance
from study.report.style import PERCENT, QUIET, TRAIN, VALIDATION, figure, rounded


def importance_bars(importance: Importance) -> go.Figure:
    """Draw each dimension's share of importance; bars that are not above chance are grey."""
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
