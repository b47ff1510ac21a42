"""Retrained configurations on the sealed test photographs."""

import plotly.graph_objects as go

from study.report.figures.axes import errors, named
from study.report.statistics import Confirmed, Estimate
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
