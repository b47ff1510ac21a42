"""Trials in the order they were asked for."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from study.analysis import TrialPoint
from study.report.figures.axes import STATE_NAMES
from study.report.style import PERCENT, QUIET, TRAIN, VALIDATION, figure, rounded


def trial_history(history: Sequence[TrialPoint]) -> go.Figure:
    """Every trial in its order, and the highest completed one so far."""
    drawing = figure(320, xaxis_title="trial", yaxis_title="validation accuracy")
    for state, symbol, color in (("PRUNED", "circle-open", QUIET), ("COMPLETE", "circle", VALIDATION)):
        points = [point for point in history if point.state == state]
        drawing.add_scatter(
            x=[point.number for point in points],
            y=rounded(point.accuracy for point in points),
            customdata=[[point.depth] for point in points],
            name=STATE_NAMES[state],
            mode="markers",
            marker={"symbol": symbol, "color": color, "size": 7},
            hovertemplate="trial %{x}, depth %{customdata[0]}: %{y:.1%}<extra></extra>",
        )
    complete = [point for point in history if point.state == "COMPLETE"]
    drawing.add_scatter(
        x=[point.number for point in complete],
        y=rounded(np.maximum.accumulate([point.accuracy for point in complete])) if complete else [],
        name="highest so far",
        mode="lines",
        line={"shape": "hv", "color": TRAIN, "width": 2},
        hoverinfo="skip",
    )
    drawing.update_yaxes(tickformat=PERCENT)
    return drawing
