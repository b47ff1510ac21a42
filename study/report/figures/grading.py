"""What was taken for what, and how sure the best trial was of it."""

from collections.abc import Sequence

import plotly.graph_objects as go

from study.analysis import Calibration, Grading
from study.report.figures.axes import errors
from study.report.style import PERCENT, QUIET, VALIDATION, figure, rounded

_PAPER_TO_BLUE = [[0.0, "rgba(0,114,178,0.04)"], [1.0, "#0072b2"]]


def confusion_map(grading: Grading, names: Sequence[str]) -> go.Figure:
    """Images by true grade (rows, the lowest on top) and predicted grade; colours are shares of a row."""
    drawing = figure(380, xaxis_title="predicted grade", yaxis_title="true grade")
    rows = list(zip(names, grading.confusion, strict=True))[::-1]
    drawing.add_heatmap(
        z=[rounded(count / max(1, sum(counts)) for count in counts) for _, counts in rows],
        x=list(names),
        y=[name for name, _ in rows],
        text=[list(map(str, counts)) for _, counts in rows],
        texttemplate="%{text}",
        colorscale=_PAPER_TO_BLUE,
        zmin=0,
        zmax=1,
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate="%{y}, predicted %{x}: %{text} images, %{z:.0%} of the grade<extra></extra>",
    )
    drawing.update_xaxes(type="category", showgrid=False)
    drawing.update_yaxes(type="category", showgrid=False, automargin=True)
    return drawing


def reliability_curve(calibration: Calibration) -> go.Figure:
    """Share graded rightly over confidence, one point per bin; on the diagonal confidence is right."""
    drawing = figure(380, xaxis_title="confidence", yaxis_title="share graded rightly", showlegend=False)
    diagonal = {"color": QUIET, "dash": "dot", "width": 1}
    drawing.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=diagonal, hoverinfo="skip")
    accuracies = [one.accuracy for one in calibration.bins]
    drawing.add_scatter(
        x=rounded(one.confidence for one in calibration.bins),
        y=rounded(accuracy.value for accuracy in accuracies),
        error_y=errors(accuracies),
        customdata=[[accuracy.n] for accuracy in accuracies],
        mode="lines+markers",
        line={"color": VALIDATION, "width": 1},
        marker={"color": VALIDATION, "size": 9},
        hovertemplate="confidence %{x:.0%}: %{y:.0%} right, n = %{customdata[0]}<extra></extra>",
    )
    drawing.update_xaxes(tickformat=PERCENT, range=[0, 1.02])
    drawing.update_yaxes(tickformat=PERCENT, range=[0, 1.02])
    return drawing
