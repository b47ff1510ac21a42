"""Retrained configurations and trials of the sweep on the test set."""

import plotly.graph_objects as go

from study.analysis import Estimate
from study.analysis.confirmation import Confirmed
from study.analysis.sweep_on_test import SweepOnTest
from study.report.figures.axes import add_diagonal, depth_markers, errors, named
from study.report.style import PERCENT, QUIET, TEST, VALIDATION, figure, rounded


def test_scores(confirmed: Confirmed) -> go.Figure:
    """Draw the accuracy of each configuration in the sweep, in its retrainings (validation) and on the test set."""
    scores = confirmed.scores
    drawing = figure(400, yaxis_title="accuracy")
    series: tuple[tuple[str, str, str, float, list[Estimate | None]], ...] = (
        ("validation in the sweep", QUIET, "circle-open", -0.2, [score.sweep for score in scores]),
        ("validation of the retrainings", VALIDATION, "circle", 0.0, [score.validation for score in scores]),
        ("test", TEST, "diamond", 0.2, [score.accuracy for score in scores]),
    )
    for name, color, symbol, shift, estimates in series:
        rows = [(index, estimate) for index, estimate in enumerate(estimates) if estimate is not None]
        drawing.add_scatter(
            x=rounded(index + shift for index, _ in rows),
            y=rounded(estimate.value for _, estimate in rows),
            error_y=errors([estimate for _, estimate in rows]),
            customdata=[scores[index].name for index, _ in rows],
            name=name,
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 9},
            hovertemplate=f"%{{customdata}}, {name}: %{{y:.1%}}<extra></extra>",
        )
    drawing.update_yaxes(tickformat=PERCENT)
    drawing.update_xaxes(**named([f"{score.name}<br>depth {score.depth}" for score in scores]))
    return drawing


def validation_against_test(sweep: SweepOnTest) -> go.Figure:
    """Draw validation and test accuracy of the sweep's trials; the distance below the diagonal is optimism."""
    drawing = figure(380, xaxis_title="validation accuracy", yaxis_title="test accuracy", showlegend=False)
    points = sweep.points
    sizes = [14 if point.trial == sweep.winner else 8 for point in points]
    lowest = min(min(point.validation, point.test) for point in points)
    add_diagonal(drawing, lowest, max(point.validation for point in points))
    drawing.add_scatter(
        x=rounded(point.validation for point in points),
        y=rounded(point.test for point in points),
        customdata=[[point.trial, point.depth] for point in points],
        mode="markers",
        marker=depth_markers([point.depth for point in points], sizes),
        hovertemplate="trial %{customdata[0]}, depth %{customdata[1]}: %{x:.1%}, test %{y:.1%}<extra></extra>",
    )
    drawing.update_xaxes(tickformat=PERCENT)
    drawing.update_yaxes(tickformat=PERCENT)
    return drawing
