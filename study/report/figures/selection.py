"""What selection is worth: the incumbent on images that did not select it, and who cannot be told from the best."""

import plotly.graph_objects as go

from drft.config.trial_config import Metric
from study.analysis import Indistinguishable, Overtuning
from study.report.figures.axes import better_up, whole_steps
from study.report.style import PERCENT, QUIET, TRAIN, VALIDATION, figure, rounded
from study.results.metric_names import displayed_score, metric_name

_SHARES = frozenset({"accuracy", "balanced_accuracy"})
"""Metrics that are written in percent."""


def incumbent_path(lost: Overtuning, metric: Metric) -> go.Figure:
    """Score of the best trial so far, on the images that selected it and on those that did not."""
    drawing = figure(320, xaxis_title="trial", yaxis_title=f"{metric_name(metric)} of the best so far")
    series = (
        ("on the images that selected it", VALIDATION, "dash", [step.inner for step in lost.path]),
        ("on the others", TRAIN, "solid", [step.outer for step in lost.path]),
    )
    for name, color, dash, scores in series:
        drawing.add_scatter(
            x=[step.trial for step in lost.path],
            y=rounded(displayed_score(metric, score) for score in scores),
            name=name,
            mode="lines",
            line={"shape": "hv", "color": color, "dash": dash, "width": 2},
            hovertemplate=f"after trial %{{x}}: %{{y:{_digits(metric)}}} {name}<extra></extra>",
        )
    drawing.update_yaxes(**better_up(metric), tickformat=PERCENT if metric in _SHARES else None)
    return drawing


def told_apart(alike: Indistinguishable, metric: Metric) -> go.Figure:
    """Scores of all trials, best first, by whether they can be told from the best one."""
    drawing = figure(320, xaxis_title="trials, best first", yaxis_title=f"validation {metric_name(metric)}")
    for name, color, symbol, inside in (
        ("not told from the best", VALIDATION, "circle", True),
        ("told from the best", QUIET, "circle-open", False),
    ):
        places = [place for place, one in enumerate(alike.compared, start=1) if one.inside is inside]
        drawing.add_scatter(
            x=places,
            y=rounded(displayed_score(metric, alike.compared[place - 1].score) for place in places),
            customdata=[[alike.compared[place - 1].trial] for place in places],
            name=name,
            mode="markers",
            marker={"symbol": symbol, "color": color, "size": 7},
            hovertemplate=f"trial %{{customdata[0]}}: %{{y:{_digits(metric)}}}<extra></extra>",
        )
    least = round(displayed_score(metric, alike.compared[0].score - alike.critical), 4)
    drawing.add_hline(y=least, line={"dash": "dot", "width": 1, "color": QUIET})
    drawing.update_yaxes(**better_up(metric), tickformat=PERCENT if metric in _SHARES else None)
    drawing.update_xaxes(**whole_steps(len(alike.compared), 20))
    return drawing


def _digits(metric: Metric) -> str:
    """Return how a single score is written."""
    return ".1%" if metric in _SHARES else ".3f"
