"""How figures look: colours that colour-blind readers can tell apart, on light and on dark paper."""

from typing import Any

import plotly.graph_objects as go

VALIDATION = "#0072b2"
TRAIN = "#d55e00"
TEST = "#009e73"
"""Blue, vermilion and bluish green of Okabe & Ito (2008); the page lightens them on dark paper."""
SERIES = (VALIDATION, TRAIN, TEST, "#cc79a7", "#e69f00", "#56b4e9", "#8a8f98", "#4c63d2")
"""One for each study of a comparison, the first ones of Okabe & Ito too."""
QUIET = "#8a8f98"
GRID = "rgba(128,128,128,0.22)"
DEPTH_SCALE = [[0.0, "#4c63d2"], [0.5, "#c2518f"], [1.0, "#f0933b"]]

PERCENT = ".0%"
_BANDS = {VALIDATION: "rgba(0,114,178,0.16)", TRAIN: "rgba(213,94,0,0.16)"}


def band(color: str) -> str:
    """Return the pale fill that belongs to a line colour."""
    return _BANDS[color]


def figure(height: int, **layout: Any) -> go.Figure:
    """Return an empty figure in the house style."""
    return styled(go.Figure(), height, **layout)


def styled(drawing: go.Figure, height: int, **layout: Any) -> go.Figure:
    """Lay the house style over a figure."""
    drawing.update_layout(
        template="none",
        height=height,
        autosize=True,
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": "#333a44"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 56, "r": 16, "t": 44, "b": 58},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        hoverlabel={"namelength": -1},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": QUIET},
        dragmode=False,
        barmode="stack",
    )
    drawing.update_xaxes(showline=True, linecolor=GRID, gridcolor=GRID, zeroline=False, ticks="outside", tickcolor=GRID)
    drawing.update_yaxes(showline=False, gridcolor=GRID, zeroline=False)
    drawing.update_layout(**layout)
    drawing.update_xaxes(title_font_size=13, title_standoff=8)
    drawing.update_yaxes(title_font_size=13, title_standoff=8)
    return drawing


def rounded(values: Any) -> list[float]:
    """Round to what a screen can show: plain lists keep figures small and readable by every plotly."""
    return [round(float(value), 4) for value in values]
