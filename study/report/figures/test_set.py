"""Retrained configurations on the sealed test images."""

import plotly.graph_objects as go

from study.analysis import Confirmed, Estimate, SweepOnTest
from study.report.figures.axes import depth_markers, errors, named
from study.report.style import PERCENT, QUIET, TEST, VALIDATION, figure, rounded


def test_scores(confirmed: Confirmed) -> go.Figure:
    """Accuracy of each configuration in the sweep, on the validation parts of its retrainings, and on the test set."""
    scores = confirmed.scores
    drawing = figure(400, yaxis_title="accuracy")
    series: tuple[tuple[str, str, str, float, list[Estimate | None]], ...] = (
        ("validation in the sweep", QUIET, "circle-open", -0.2, [score.sweep for score in scores]),
        ("validation of the retrainings", VALIDATION, "circle", 0.0, [score.validation for score in scores]),
        ("test", TEST, "diamond", 0.2, [score.accuracy for score in scores]),
    )
    for name, color, symbol, shift, estimates in series:
        told = [(place, estimate) for place, estimate in enumerate(estimates) if estimate is not None]
        drawing.add_scatter(
            x=rounded(place + shift for place, _ in told),
            y=rounded(estimate.value for _, estimate in told),
            error_y=errors([estimate for _, estimate in told]),
            customdata=[scores[place].name for place, _ in told],
            name=name,
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 9},
            hovertemplate=f"%{{customdata}}, {name}: %{{y:.1%}}<extra></extra>",
        )
    drawing.update_yaxes(tickformat=PERCENT)
    drawing.update_xaxes(**named([f"{score.name}<br>depth {score.depth}" for score in scores]))
    return drawing


def validation_against_test(swept: SweepOnTest) -> go.Figure:
    """Validation and test accuracy of the sweep's trials: depth below the diagonal is what selection flattered."""
    drawing = figure(380, xaxis_title="validation accuracy", yaxis_title="test accuracy", showlegend=False)
    told = swept.points
    ends = [min(min(point.validation, point.test) for point in told), max(point.validation for point in told)]
    sizes = [14 if point.trial == swept.winner else 8 for point in told]
    diagonal = {"color": QUIET, "dash": "dot", "width": 1}
    drawing.add_scatter(x=rounded(ends), y=rounded(ends), mode="lines", line=diagonal, hoverinfo="skip")
    drawing.add_scatter(
        x=rounded(point.validation for point in told),
        y=rounded(point.test for point in told),
        customdata=[[point.trial, point.depth] for point in told],
        mode="markers",
        marker=depth_markers([point.depth for point in told], sizes),
        hovertemplate="trial %{customdata[0]}, depth %{customdata[1]}: %{x:.1%}, test %{y:.1%}<extra></extra>",
    )
    drawing.update_xaxes(tickformat=PERCENT)
    drawing.update_yaxes(tickformat=PERCENT)
    return drawing
