"""What selection is worth: the incumbent on images that did not select it, and who cannot be told from the best."""

import plotly.graph_objects as go

from drft.config import Metric
from study.report.statistics import Alike, Overtuning
from study.report.style import PERCENT, QUIET, TRAIN, VALIDATION, figure, rounded
from study.scores import metric_name, shown

_FEW = 20
"""Trials whose axis has a tick for each: plotly writes fractions of a trial otherwise."""


def incumbent_path(lost: Overtuning, metric: Metric) -> go.Figure:
    """Score of the best trial so far, on the images that selected it and on those that did not."""
    drawing = figure(320, xaxis_title="trial", yaxis_title=f"{metric_name(metric)} of the best so far")
    series = (
        ("on the photographs that selected it", VALIDATION, "dash", [step.inner for step in lost.path]),
        ("on the others", TRAIN, "solid", [step.outer for step in lost.path]),
    )
    for name, color, dash, scores in series:
        drawing.add_scatter(
            x=[step.trial for step in lost.path],
            y=rounded(shown(metric, score) for score in scores),
            name=name,
            mode="lines",
            line={"shape": "hv", "color": color, "dash": dash, "width": 2},
            hovertemplate=f"after trial %{{x}}: %{{y:{_digits(metric)}}} {name}<extra></extra>",
        )
    drawing.update_yaxes(**_better_up(metric))
    return drawing


def told_apart(alike: Alike, metric: Metric) -> go.Figure:
    """Scores of all trials, best first, by whether they can be told from the best one."""
    drawing = figure(320, xaxis_title="trials, best first", yaxis_title=f"validation {metric_name(metric)}")
    for name, color, symbol, inside in (
        ("not told from the best", VALIDATION, "circle", True),
        ("told from the best", QUIET, "circle-open", False),
    ):
        places = [place for place, one in enumerate(alike.compared, start=1) if one.inside is inside]
        drawing.add_scatter(
            x=places,
            y=rounded(shown(metric, alike.compared[place - 1].score) for place in places),
            customdata=[[alike.compared[place - 1].trial] for place in places],
            name=name,
            mode="markers",
            marker={"symbol": symbol, "color": color, "size": 7},
            hovertemplate=f"trial %{{customdata[0]}}: %{{y:{_digits(metric)}}}<extra></extra>",
        )
    least = round(shown(metric, alike.compared[0].score - alike.critical), 4)
    drawing.add_hline(y=least, line={"dash": "dot", "width": 1, "color": QUIET})
    drawing.update_yaxes(**_better_up(metric))
    if len(alike.compared) <= _FEW:
        drawing.update_xaxes(dtick=1)
    return drawing


def _better_up(metric: Metric) -> dict[str, str]:
    if metric == "nll":
        return {"autorange": "reversed"}
    return {} if metric == "qwk" else {"tickformat": PERCENT}


def _digits(metric: Metric) -> str:
    """Return how a single score is written."""
    return ".3f" if metric in {"qwk", "nll"} else ".1%"
