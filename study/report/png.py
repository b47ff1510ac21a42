"""PNG images of the report's plotly figures, for the Markdown report, which runs no JavaScript.

plotly needs Chrome to export images, so Matplotlib draws the traces of the same figure. The translation covers the
traces in use (scatter, bar and heat map) and refuses others, so that an image never shows less than the page.
"""

import io
from collections import Counter
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator, NullLocator, PercentFormatter

from study.report.style import INK

_WIDTH, _DPI = 900, 100
_PIXEL = 72 / _DPI
"""In points, the unit of Matplotlib's markers."""
_LINES = {None: "-", "solid": "-", "dash": "--", "dot": ":"}
_MARKERS = {None: "o", "circle": "o", "circle-open": "o", "square": "s", "diamond": "D", "x": "x"}
_STYLE: dict[Any, Any] = {
    **dict.fromkeys(("axes.spines.left", "axes.spines.right", "axes.spines.top", "legend.frameon"), False),
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "text.color"), INK),
    **dict.fromkeys(("axes.titlesize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9),
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e6ea",
    "errorbar.capsize": 3,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.1,
}


def image(drawing: go.Figure) -> bytes:
    """Return a figure as PNG, 900 pixels wide, on white paper.

    Raises:
        ValueError: when the figure has a type of trace that no report draws.
    """
    layout, file = drawing.layout, io.BytesIO()
    with mpl.rc_context(_STYLE):
        size = (_WIDTH / _DPI, (layout.height or 400) / _DPI)
        canvas = Figure(size, dpi=_DPI, facecolor="white", layout="constrained")
        panels = _panels(canvas, drawing)
        stacked: Counter[Any] = Counter()
        for trace in drawing.data:
            if trace.type not in _DRAW:
                raise ValueError(f"no PNG can be made of a trace of type {trace.type!r}")
            _DRAW[trace.type](panels[trace.xaxis or "x"], trace, stacked)
        for name, axes in panels.items():
            for side in "xy":
                _set_axis(axes, side, layout[f"{side}axis{name[1:]}"])
        for shape in layout.shapes:
            _line(panels[(shape.xref or "x").split()[0]], shape)
        # plotly keeps the titles of panels as annotations, in the order of the panels.
        for axes, title in zip(panels.values(), layout.annotations, strict=False):
            axes.set_title(_no_formula(title.text))
        if layout.showlegend is not False and any(axes.get_legend_handles_labels()[0] for axes in panels.values()):
            canvas.legend(loc="outside upper center", ncols=4)
        canvas.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _panels(canvas: Figure, drawing: go.Figure) -> dict[str, Axes]:
    """Create the axes and return them by the name that traces refer to (``x``, ``x2`` ...), row by row."""
    x_axes, y_axes = list(drawing.select_xaxes()), list(drawing.select_yaxes())
    grid = canvas.subplots(
        nrows=len({axis.domain for axis in y_axes}) or 1,
        ncols=len({axis.domain for axis in x_axes}) or 1,
        sharex=any(axis.matches for axis in x_axes),
        sharey=any(axis.matches for axis in y_axes),
        squeeze=False,
    )
    panels = {f"x{number or ''}": axes for number, axes in zip([0, *range(2, 1 + grid.size)], grid.flat, strict=True)}
    for axes, y_axis in zip(panels.values(), y_axes, strict=False):
        if y_axis.categoryarray is not None:  # bars would fix the order of their categories otherwise
            axes.yaxis.update_units(list(y_axis.categoryarray))
    return panels


def _scatter(axes: Axes, trace: Any, _: object) -> None:
    if not trace.x:  # plotly does not list an empty trace in the legend
        return
    line, marker = trace.line, trace.marker
    stairs = line.shape == "hv"
    if trace.fill == "toself":
        axes.fill(trace.x, trace.y, color=_color(trace.fillcolor), linewidth=0)
    elif trace.fill == "tonexty":
        below, color = axes.lines[-1].get_ydata(orig=False), _color(trace.fillcolor)
        axes.fill_between(trace.x, below, trace.y, step="post" if stairs else None, color=color, linewidth=0)
    if isinstance(marker.color, tuple) or isinstance(marker.size, tuple):
        _points(axes, trace)
        return
    color, mode = _color(line.color or marker.color), trace.mode or "lines"
    style: dict[str, Any] = {"linestyle": "none"}
    if "lines" in mode:
        style = {"linestyle": _LINES[line.dash], "linewidth": 2 if line.width is None else line.width}
        style["drawstyle"] = "steps-post" if stairs else "default"
    if "markers" in mode:
        filled = color if marker.symbol != "circle-open" else "none"
        style |= {"marker": _MARKERS[marker.symbol], "markersize": _PIXEL * (marker.size or 7), "mfc": filled}
    style |= {"color": color, "alpha": marker.opacity, "label": _label(trace), "elinewidth": 1.3}
    axes.errorbar(trace.x, trace.y, yerr=_reaches(trace.error_y), **style)


def _points(axes: Axes, trace: Any) -> None:
    """Draw markers of which each has its own size or colour."""
    marker, style = trace.marker, {"marker": _MARKERS[trace.marker.symbol], "alpha": trace.marker.opacity, "zorder": 3}
    if isinstance(marker.color, tuple):
        style |= {"c": marker.color, "cmap": _colormap(marker.colorscale)}
    else:
        style["color"] = _color(marker.color)
    area = np.square(np.multiply(_PIXEL, marker.size or 7))
    points = axes.scatter(trace.x, trace.y, s=area, label=_label(trace), **style)
    if title := marker.colorbar.title.text:
        bar = axes.figure.colorbar(points, ax=axes, label=title, ticks=MaxNLocator(integer=True), aspect=40)
        bar.outline.set_visible(False)


def _bar(axes: Axes, trace: Any, stacked: Counter[Any]) -> None:
    across = trace.orientation == "h"
    lengths, positions = (trace.x, trace.y) if across else (trace.y, trace.x)
    if not lengths:
        return
    draw, base = axes.barh if across else axes.bar, [stacked[axes, position] for position in positions]
    style = {
        "color": to_rgba(_color(trace.marker.color), trace.marker.opacity),
        "ecolor": _color(trace.error_y.color),
        "label": _label(trace),
    }
    draw(positions, lengths, 0.8, base, yerr=_reaches(trace.error_y), **style)
    for position, length in zip(positions, lengths, strict=True):
        stacked[axes, position] += length


def _heatmap(axes: Axes, trace: Any, _: object) -> None:
    cells = np.asarray(trace.z, dtype=float)
    rows, columns = map(range, cells.shape)
    style: dict[str, Any] = {"cmap": _colormap(trace.colorscale), "edgecolors": "white", "linewidth": trace.xgap or 0}
    mesh = axes.pcolormesh(columns, rows, cells, shading="nearest", vmin=trace.zmin, vmax=trace.zmax, **style)
    axes.set_xticks(columns, trace.x and list(map(_no_formula, trace.x)))
    axes.set_yticks(rows, trace.y and list(map(_no_formula, trace.y)))
    ink, dark = trace.textfont.color, np.asarray(mesh.norm(cells)) > 0.6
    for (row, column), value in np.ndenumerate(cells):
        text = f"{value:g}" if trace.text is None else trace.text[row][column]
        axes.text(column, row, text, ha="center", va="center", color=ink or ("white" if dark[row, column] else INK))


_DRAW = MappingProxyType({"scatter": _scatter, "bar": _bar, "heatmap": _heatmap})


def _set_axis(axes: Axes, side: str, axis: Any) -> None:
    """Set label, scale, ticks and range of the horizontal or the vertical axis."""
    ruler = axes.xaxis if side == "x" else axes.yaxis
    ruler.set_label_text(axis.title.text or "")
    if axis.type == "log":  # before the ticks, which a change of scale resets
        axes.set(**{f"{side}scale": "log"})
    if axis.tickformat and "%" in axis.tickformat:
        ruler.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if axis.dtick:
        ruler.set_major_locator(MultipleLocator(axis.dtick))
    limits = axis.range or ((0, None) if axis.rangemode == "tozero" else None)
    if axis.ticktext is not None:
        limits = limits or getattr(axes, f"get_{side}lim")()  # ticks outside the data must not widen the axis
        ruler.set_ticks(axis.tickvals, [_no_formula(text).replace("<br>", "\n") for text in axis.ticktext])
        ruler.set_minor_locator(NullLocator())
    if limits is not None:
        axes.set(**{f"{side}lim": limits})
    if axis.autorange == "reversed":
        ruler.set_inverted(True)
    if axis.showgrid is False:
        ruler.grid(visible=False)


def _line(axes: Axes, shape: Any) -> None:
    """Draw a vertical or a horizontal line through the whole panel."""
    draw, at = (axes.axvline, shape.x0) if shape.x0 == shape.x1 else (axes.axhline, shape.y0)
    draw(at, color=_color(shape.line.color), linestyle=_LINES[shape.line.dash], linewidth=shape.line.width or 1)


def _label(trace: Any) -> str | None:
    return _no_formula(trace.name) if trace.name and trace.showlegend is not False else None


def _no_formula(text: Any) -> str:
    """Return a text that Matplotlib takes for no formula: names of classes and studies may have dollar signs."""
    return str(text).replace("$", r"\$")


def _reaches(errors: Any) -> list[Any] | None:
    """Return how far error bars reach down and up, or None where there are none."""
    return None if errors.array is None else [errors.arrayminus or errors.array, errors.array]


def _colormap(colorscale: Any) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("scale", [(at, _color(color)) for at, color in colorscale])


def _color(css: str | None) -> Any:
    """Return a CSS colour as Matplotlib takes it."""
    if css is None:
        return INK
    if css.startswith("rgb"):
        red, green, blue, *alpha = map(float, css.partition("(")[2].rstrip(")").split(","))
        return (red / 255, green / 255, blue / 255, *alpha)
    return css
