"""Effects of selection: the best trial so far on other images, and the trials indistinguishable from the best."""

import plotly.graph_objects as go

from drft.config.trial_config import Metric
from study.analysis.indistinguishable import Indistinguishable
from study.analysis.overtuning import Overtuning
from study.report.figures.axes import better_up, whole_ticks
from study.report.style import PERCENT, QUIET, TRAIN, VALIDATION, figure, rounded
from study.results.metric_names import displayed_score, metric_name

_SHARES = frozenset({"accuracy", "balanced_accuracy"})
"""Metrics in percent."""


def incumbent_path(overtuning: Overtuning, metric: Metric) -> go.Figure:
    """Draw the score of the best trial so far, on the images that selected it and on the others."""
    drawing = figure(320, xaxis_title="trial", yaxis_title=f"{metric_name(metric)} of the best so far")
    series = (
        ("on the images that selected it", VALIDATION, "dash", [step.inner for step in overtuning.path]),
        ("on the others", TRAIN, "solid", [step.outer for step in overtuning.path]),
    )
    for name, color, dash, scores in series:
        drawing.add_scatter(
            x=[step.trial for step in overtuning.path],
            y=rounded(displayed_score(metric, score) for score in scores),
            name=name,
            mode="lines",
            line={"shape": "hv", "color": color, "dash": dash, "width": 2},
            hovertemplate=f"after trial %{{x}}: %{{y:{_digits(metric)}}} {name}<extra></extra>",
        )
    drawing.update_yaxes(**better_up(metric), tickformat=PERCENT if metric in _SHARES else None)
    return drawing


def indistinguishable_trials(alike: Indistinguishable, metric: Metric) -> go.Figure:
    """Draw the scores of all trials, best first, by whether they are indistinguishable from the best one."""
    drawing = figure(320, xaxis_title="trials, best first", yaxis_title=f"validation {metric_name(metric)}")
    for name, color, symbol, inside in (
        ("indistinguishable from the best", VALIDATION, "circle", True),
        ("distinguishable", QUIET, "circle-open", False),
    ):
        rows = [(rank, row) for rank, row in enumerate(alike.compared, start=1) if row.inside is inside]
        drawing.add_scatter(
            x=[rank for rank, _ in rows],
            y=rounded(displayed_score(metric, row.score) for _, row in rows),
            customdata=[[row.trial] for _, row in rows],
            name=name,
            mode="markers",
            marker={"symbol": symbol, "color": color, "size": 7},
            hovertemplate=f"trial %{{customdata[0]}}: %{{y:{_digits(metric)}}}<extra></extra>",
        )
    least = round(displayed_score(metric, alike.compared[0].score - alike.critical), 4)
    drawing.add_hline(y=least, line={"dash": "dot", "width": 1, "color": QUIET})
    drawing.update_yaxes(**better_up(metric), tickformat=PERCENT if metric in _SHARES else None)
    drawing.update_xaxes(**whole_ticks(len(alike.compared), 20))
    return drawing


def _digits(metric: Metric) -> str:
    """Return the number format of a score."""
    return ".1%" if metric in _SHARES else ".3f"
