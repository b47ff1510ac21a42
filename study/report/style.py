"""The style of figures: colours that colour-blind readers can distinguish, on light and dark backgrounds."""

from typing import Any

import plotly.graph_objects as go

VALIDATION = "#0072b2"
TRAIN = "#d55e00"
TEST = "#009e73"
"""Blue, vermilion and bluish green of Okabe & Ito (2008). The page lightens them in dark mode."""
SERIES = (VALIDATION, TRAIN, TEST, "#cc79a7", "#e69f00", "#56b4e9", "#8a8f98", "#4c63d2")
"""One colour for each study of a comparison; the first ones are those of Okabe & Ito."""
QUIET = "#8a8f98"
INK = "#333a44"
GRID = "rgba(128,128,128,0.22)"
DEPTH_SCALE = [[0.0, "#4c63d2"], [0.5, "#c2518f"], [1.0, "#f0933b"]]

PERCENT = ".0%"
_BANDS = {VALIDATION: "rgba(0,114,178,0.16)", TRAIN: "rgba(213,94,0,0.16)"}


def band(color: str) -> str:
    """Return the fill colour of the band around a line."""
    return _BANDS[color]


def figure(height: int, **layout: Any) -> go.Figure:
    """Return an empty figure in the style of the report."""
    return styled(go.Figure(), height, **layout)


def styled(drawing: go.Figure, height: int, **layout: Any) -> go.Figure:
    """Apply the style of the report to a figure, and return it."""
    drawing.update_layout(
        template="none",
        height=height,
        autosize=True,
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 56, "r": 16, "t": 14 if layout.get("showlegend") is False else 44, "b": 58},
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
    """Round to four decimals. A plain list keeps the page small and is readable by every version of plotly."""
    return [round(float(value), 4) for value in values]
