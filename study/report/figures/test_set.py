"""Retrained configurations on the sealed test photographs."""

import plotly.graph_objects as go

from study.report.figures.axes import errors
from study.report.statistics import Confirmed, Estimate
from study.report.style import PERCENT, QUIET, TEST, VALIDATION, figure, rounded


def test_scores(confirmed: Confirmed) -> go.Figure:
    """Accuracy of each configuration in the sweep, on the validation parts of its retrainings, and on the test set."""
    scores = confirmed.scores
    drawing = figure(150 + 52 * len(scores), xaxis_title="accuracy", scattermode="group", scattergap=0.45)
    series: tuple[tuple[str, str, str, list[tuple[str, Estimate]]], ...] = (
        ("test", TEST, "diamond", [(one.name, one.accuracy) for one in scores]),
        ("validation of the retrainings", VALIDATION, "circle", [(one.name, one.validation) for one in scores]),
        ("validation in the sweep", QUIET, "circle-open", [(one.name, one.sweep) for one in scores if one.sweep]),
    )
    for name, color, symbol, told in series:
        drawing.add_scatter(
            x=rounded(estimate.value for _, estimate in told),
            y=[of for of, _ in told],
            error_x=errors([estimate for _, estimate in told]),
            orientation="h",
            name=name,
            offsetgroup=name,
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 9},
            hovertemplate=f"%{{y}}, {name}: %{{x:.1%}}<extra></extra>",
        )
    drawing.update_xaxes(tickformat=PERCENT)
    names = [one.name for one in reversed(scores)]
    drawing.update_yaxes(automargin=True, showgrid=False, categoryorder="array", categoryarray=names)
    return drawing
