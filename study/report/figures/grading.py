"""Confusion matrix and calibration."""

from collections.abc import Sequence

import plotly.graph_objects as go

from study.analysis.estimators.calibration import Calibration
from study.analysis.estimators.grading import Grading
from study.report.figures.axes import add_diagonal, errors
from study.report.style import INK, PERCENT, VALIDATION, figure, rounded

_BLUES = [[0.0, "rgba(0,114,178,0.04)"], [1.0, "rgba(0,114,178,0.55)"]]
"""Light enough for dark numbers on white paper, and dark enough for light ones on black."""


def confusion_map(grading: Grading, names: Sequence[str]) -> go.Figure:
    """Draw a confusion matrix: rows are true grades, the lowest on top; colours are shares of a row."""
    drawing = figure(340, xaxis_title="predicted class", yaxis_title="true class", showlegend=False)
    rows = list(zip(names, grading.confusion, strict=True))[::-1]
    drawing.add_heatmap(
        z=[rounded(count / max(1, sum(counts)) for count in counts) for _, counts in rows],
        x=list(names),
        y=[name for name, _ in rows],
        text=[list(map(str, counts)) for _, counts in rows],
        texttemplate="%{text}",
        textfont={"color": INK},
        colorscale=_BLUES,
        zmin=0,
        zmax=1,
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate="%{y}, predicted %{x}: %{text} images, %{z:.0%} of the class<extra></extra>",
    )
    drawing.update_xaxes(type="category", showgrid=False, automargin=True)
    drawing.update_yaxes(type="category", showgrid=False, automargin=True)
    return drawing


def reliability_curve(calibration: Calibration) -> go.Figure:
    """Draw accuracy over confidence, one point per bin; calibrated confidence lies on the diagonal."""
    drawing = figure(380, xaxis_title="confidence", yaxis_title="accuracy", showlegend=False)
    add_diagonal(drawing, 0, 1)
    accuracies = [row.accuracy for row in calibration.bins]
    drawing.add_scatter(
        x=rounded(row.confidence for row in calibration.bins),
        y=rounded(accuracy.value for accuracy in accuracies),
        error_y=errors(accuracies),
        customdata=[[accuracy.n] for accuracy in accuracies],
        mode="markers",
        marker={"color": VALIDATION, "size": 9},
        hovertemplate="confidence %{x:.0%}: %{y:.0%} right, n = %{customdata[0]}<extra></extra>",
    )
    drawing.update_xaxes(tickformat=PERCENT, range=[0, 1.02])
    drawing.update_yaxes(tickformat=PERCENT, range=[0, 1.02])
    return drawing
