"""Trials in the order in which they were suggested."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from study.analysis.history import TrialPoint
from study.report.figures.axes import add_trials
from study.report.style import PERCENT, TRAIN, figure, rounded


def trial_history(history: Sequence[TrialPoint]) -> go.Figure:
    """Draw the accuracy of every trial in order, and the highest accuracy of the completed trials so far."""
    drawing = figure(320, xaxis_title="trial", yaxis_title="validation accuracy")
    add_trials(drawing, history, lambda point: point.number)
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
