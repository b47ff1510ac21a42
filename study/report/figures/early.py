"""How far early scores rank the final ones, and whether the best would have been kept."""

from collections.abc import Iterator

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from study.analysis import Early, EarlyGroup, Estimate, Withheld
from study.report.figures.axes import errors, whole_steps
from study.report.style import DEPTH_SCALE, PERCENT, QUIET, TRAIN, VALIDATION, figure, rounded


def early_ranks(early: Early) -> go.Figure:
    """Kendall's tau between the best so far and the best of all, step by step: all trials, control arm, each depth."""
    drawing = figure(340, xaxis_title="step", yaxis_title="Kendall's tau with the final score")
    deepest = max((group.depth or 0 for group in early.depths), default=0)
    for group in early.depths:
        points = list(_taus(group))
        drawing.add_scatter(
            x=[step for step, _ in points],
            y=rounded(tau.value for _, tau in points),
            name=f"depth {group.depth}",
            mode="lines",
            line={"width": 1.2, "color": sample_colorscale(DEPTH_SCALE, (group.depth or 0) / max(1, deepest))[0]},
            hovertemplate=f"depth {group.depth}, step %{{x}}: %{{y:.2f}}, n = {group.n}<extra></extra>",
        )
    if not isinstance(early.control, Withheld):
        _add_group(drawing, early.control, "control arm", TRAIN, shift=0.08)
    _add_group(drawing, early.everyone, "all completed trials", VALIDATION)
    drawing.add_hline(y=0, line={"dash": "dot", "width": 1, "color": QUIET})
    drawing.update_yaxes(range=[-1.05, 1.05])
    drawing.update_xaxes(**whole_steps(_last(early), ticks=12))
    return drawing


def early_recall(early: Early) -> go.Figure:
    """Share of the best quarter that a rule which keeps the upper half would have kept, step by step."""
    drawing = figure(340, xaxis_title="step", yaxis_title="of the best quarter, kept")
    shares = [(look.step, look.recall) for look in early.everyone.looks if isinstance(look.recall, Estimate)]
    drawing.add_bar(
        x=[step for step, _ in shares],
        y=rounded(share.value for _, share in shares),
        error_y={**errors([share for _, share in shares]), "color": QUIET},
        marker={"color": VALIDATION},
        customdata=[share.n for _, share in shares],
        hovertemplate="step %{x}: %{y:.0%} of %{customdata} kept<extra></extra>",
        showlegend=False,
    )
    drawing.add_hline(y=0.5, line={"dash": "dot", "width": 1, "color": QUIET})
    drawing.update_yaxes(tickformat=PERCENT, range=[0, 1.05])
    drawing.update_xaxes(**whole_steps(_last(early), ticks=12))
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
        hovertemplate=f"{name}, step %{{x:.0f}}: %{{y:.2f}}, n = {group.n}<extra></extra>",
    )


def _taus(group: EarlyGroup) -> Iterator[tuple[int, Estimate]]:
    yield from (
        (look.step, look.tau) for look in group.looks if look.step is not None and isinstance(look.tau, Estimate)
    )


def _last(early: Early) -> int:
    return max((look.step or 0 for look in early.everyone.looks), default=1)
