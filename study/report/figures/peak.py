"""When validation peaked, and what the best epoch gained over the last."""

import plotly.graph_objects as go

from study.analysis.peak import BestVersusLast, Peak
from study.analysis.recommended import RecommendedDepth
from study.analysis.survival import PeakSurvival
from study.report.figures.axes import add_diagonal, depth_markers, whole_ticks
from study.report.style import PERCENT, QUIET, TRAIN, VALIDATION, band, figure, rounded


def best_steps(peak: Peak) -> go.Figure:
    """Draw the number of trials with their best epoch at each epoch, by phase."""
    drawing = figure(300, yaxis_title="trials", xaxis_title="best epoch", bargap=0.15)
    for name, color, counts in (
        ("head phase", QUIET, [count.head for count in peak.counts]),
        ("depth phase", VALIDATION, [count.depth for count in peak.counts]),
    ):
        drawing.add_bar(
            x=[count.step for count in peak.counts],
            y=counts,
            name=f"peak in the {name}",
            marker={"color": color},
            hovertemplate="epoch %{x}: %{y} trials<extra></extra>",
        )
    drawing.update_xaxes(**whole_ticks(len(peak.counts), ticks=12))
    drawing.add_vline(x=peak.best_step.value, line={"dash": "dash", "width": 2, "color": TRAIN})
    return drawing


def best_versus_last(compared: BestVersusLast) -> go.Figure:
    """Draw validation accuracy at the best epoch against the last; the height above the diagonal is the gain."""
    drawing = figure(
        380,
        xaxis_title="validation accuracy at the last epoch",
        yaxis_title="at the best epoch",
        showlegend=False,
    )
    pairs = compared.pairs
    add_diagonal(drawing, min(pair.last for pair in pairs) - 0.01, max(pair.best for pair in pairs) + 0.01)
    drawing.add_scatter(
        x=rounded(pair.last for pair in pairs),
        y=rounded(pair.best for pair in pairs),
        customdata=[[pair.trial, pair.depth] for pair in pairs],
        mode="markers",
        marker=depth_markers([pair.depth for pair in pairs]),
        hovertemplate="trial %{customdata[0]}, depth %{customdata[1]}: best %{y:.1%}, last %{x:.1%}<extra></extra>",
    )
    drawing.update_xaxes(tickformat=PERCENT)
    drawing.update_yaxes(tickformat=PERCENT)
    return drawing


def kept_epochs(recommended: RecommendedDepth) -> go.Figure:
    """Draw the number of trainings that keep each epoch."""
    drawing = figure(300, yaxis_title="trainings", xaxis_title="epoch that is kept", bargap=0.15, showlegend=False)
    epochs, last = [each.epoch for each in recommended.kept], max(each.last_epoch for each in recommended.kept)
    drawing.add_bar(
        x=list(range(1, last + 1)),
        y=[epochs.count(epoch) for epoch in range(1, last + 1)],
        marker={"color": VALIDATION},
        hovertemplate="epoch %{x}: %{y} trainings<extra></extra>",
    )
    drawing.update_xaxes(**whole_ticks(last, ticks=12), range=[0.5, last + 0.5])
    drawing.update_yaxes(**whole_ticks(max(epochs.count(epoch) for epoch in epochs), ticks=6))
    return drawing


def kept_against_last(recommended: RecommendedDepth) -> go.Figure:
    """Draw validation accuracy at the epoch that is kept against the last; above the diagonal it is higher."""
    drawing = figure(
        300, xaxis_title="validation accuracy at the last epoch", yaxis_title="at the kept epoch", showlegend=False
    )
    kept = recommended.kept
    values = [value for each in kept for value in (each.accuracy, each.accuracy_last)]
    add_diagonal(drawing, min(values) - 0.01, max(values) + 0.01)
    drawing.add_scatter(
        x=rounded(each.accuracy_last for each in kept),
        y=rounded(each.accuracy for each in kept),
        customdata=[[each.trial, each.epoch] for each in kept],
        mode="markers",
        marker={"color": VALIDATION, "size": 10, "opacity": 0.85},
        hovertemplate="training %{customdata[0]}: %{y:.1%} at epoch %{customdata[1]}, %{x:.1%} at the last"
        "<extra></extra>",
    )
    drawing.update_xaxes(tickformat=PERCENT)
    drawing.update_yaxes(tickformat=PERCENT)
    return drawing


def still_rising(survival: PeakSurvival) -> go.Figure:
    """Draw the share of trials whose lasting peak is still to come, with its pointwise band."""
    drawing = figure(300, xaxis_title="epoch", yaxis_title="trials still to peak", showlegend=False)
    steps = [0, *(rising.step for rising in survival.curve)]
    shares = [rising.share for rising in survival.curve]
    low = [1.0, *(share.value if share.low is None else share.low for share in shares)]
    high = [1.0, *(share.value if share.high is None else share.high for share in shares)]
    edge = {"mode": "lines", "line": {"shape": "hv", "width": 0}, "hoverinfo": "skip"}
    drawing.add_scatter(x=steps, y=rounded(low), **edge)
    drawing.add_scatter(x=steps, y=rounded(high), fill="tonexty", fillcolor=band(VALIDATION), **edge)
    drawing.add_scatter(
        x=steps,
        y=rounded([1.0, *(share.value for share in shares)]),
        customdata=[survival.n, *(share.n for share in shares)],
        mode="lines",
        line={"shape": "hv", "color": VALIDATION, "width": 2.2},
        hovertemplate="after epoch %{x}: %{y:.0%} still to peak, n = %{customdata}<extra></extra>",
    )
    drawing.add_hline(y=0.5, line={"dash": "dot", "width": 1, "color": QUIET})
    drawing.update_yaxes(tickformat=PERCENT, range=[0, 1.02])
    drawing.update_xaxes(**whole_ticks(steps[-1], ticks=12))
    return drawing
