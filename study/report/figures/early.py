"""How well early scores predict the final ranking, and whether the best trials would have been kept."""

from collections.abc import Iterator

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from study.analysis import Estimate, Withheld
from study.analysis.early import EarlyGroup, EarlyRanking
from study.report.figures.axes import errors, whole_ticks
from study.report.style import DEPTH_SCALE, INK, PERCENT, QUIET, TRAIN, VALIDATION, figure, rounded


def early_ranks(early: EarlyRanking) -> go.Figure:
    """Draw Kendall's tau between the best score up to an epoch and the best of all, by group of trials."""
    drawing = figure(340, xaxis_title="epoch", yaxis_title="Kendall's tau with the final score")
    deepest = max((group.depth or 0 for group in early.depths), default=0)
    for group in early.depths:
        points = list(_taus(group))
        drawing.add_scatter(
            x=[step for step, _ in points],
            y=rounded(tau.value for _, tau in points),
            name=f"depth {group.depth}",
            mode="lines",
            line={"width": 1.2, "color": sample_colorscale(DEPTH_SCALE, (group.depth or 0) / max(1, deepest))[0]},
            hovertemplate=f"depth {group.depth}, epoch %{{x}}: %{{y:.2f}}, n = {group.n}<extra></extra>",
        )
    if not isinstance(early.control, Withheld):
        _add_group(drawing, early.control, "control arm", TRAIN, shift=0.08)
    _add_group(drawing, early.everyone, "all completed trials", VALIDATION)
    drawing.add_hline(y=0, line={"dash": "dot", "width": 1, "color": QUIET})
    drawing.update_yaxes(range=[-1.05, 1.05])
    drawing.update_xaxes(**whole_ticks(_last(early), ticks=12))
    return drawing


def early_recall(early: EarlyRanking) -> go.Figure:
    """Draw the share of the best quarter that a rule which keeps the upper half would have kept, by epoch."""
    drawing = figure(340, xaxis_title="epoch", yaxis_title="share of the best quarter kept")
    shares = [(look.step, look.recall) for look in early.everyone.looks if isinstance(look.recall, Estimate)]
    drawing.add_bar(
        x=[step for step, _ in shares],
        y=rounded(share.value for _, share in shares),
        error_y={**errors([share for _, share in shares]), "color": INK},
        marker={"color": VALIDATION, "opacity": 0.5},
        customdata=[share.n for _, share in shares],
        hovertemplate="epoch %{x}: %{y:.0%} of %{customdata} kept<extra></extra>",
        showlegend=False,
    )
    drawing.add_hline(y=0.5, line={"dash": "dot", "width": 1, "color": QUIET})
    drawing.update_yaxes(tickformat=PERCENT, range=[0, 1.05])
    drawing.update_xaxes(**whole_ticks(_last(early), ticks=12))
    return drawing


def _add_group(drawing: go.Figure, group: EarlyGroup, name: str, color: str, shift: float = 0.0) -> None:
    points = list(_taus(group))
    drawing.add_scatter(
        x=[step + shift for step, _ in points],
        y=rounded(tau.value for _, tau in points),
        error_y={**errors([tau for _, tau in points]), "color": color},
        name=name,
        mode="lines+markers",
        line={"width": 2.2, "color": color},
        hovertemplate=f"{name}, epoch %{{x:.0f}}: %{{y:.2f}}, n = {group.n}<extra></extra>",
    )


def _taus(group: EarlyGroup) -> Iterator[tuple[int, Estimate]]:
    yield from (
        (look.step, look.tau) for look in group.looks if look.step is not None and isinstance(look.tau, Estimate)
    )


def _last(early: EarlyRanking) -> int:
    return max((look.step or 0 for look in early.everyone.looks), default=1)
