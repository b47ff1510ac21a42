"""Images of the figures for readers of Markdown, who have no JavaScript: Matplotlib draws what plotly was told.

The figures of a report use few of plotly's means: lines, markers, bands, error bars, bars and heat maps on one or
several pairs of axes. What is not among them is refused, so that an image never shows less than the page.
"""

import io
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, NullLocator, PercentFormatter

_WIDTH, _DPI = 900, 100
_DASHES: Mapping[str | None, str] = MappingProxyType({None: "-", "solid": "-", "dash": "--", "dot": ":"})
_MARKERS: Mapping[str | None, str] = MappingProxyType(
    {None: "o", "circle": "o", "circle-open": "o", "square": "s", "diamond": "D", "x": "x"}
)
_INK = "#333a44"


def image(drawing: go.Figure) -> bytes:
    """Return a figure as PNG, about 900 pixels wide, on white paper.

    Raises:
        ValueError: when the figure has a kind of trace that no report draws.
    """
    layout = drawing.layout
    height = int(layout.height or 400)
    canvas = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    places = _places(canvas, layout, height)
    _order(places, layout)
    for trace in drawing.data:
        _DRAW[_known(trace.type)](places[trace.xaxis or "x", trace.yaxis or "y"], trace)
    _finish(canvas, places, layout)
    file = io.BytesIO()
    canvas.savefig(file, format="png", metadata={"Software": None}, bbox_inches="tight", pad_inches=0.1)
    return file.getvalue()


def _known(kind: str) -> str:
    if kind not in _DRAW:
        raise ValueError(f"no image can be made of a trace of type {kind!r}")
    return kind


def _places(canvas: Figure, layout: Any, height: int) -> dict[tuple[str, str], Axes]:
    """Lay out the axes as plotly does: domains are shares of what the margins leave."""
    margin = layout.margin
    left, right = (margin.l or 60) / _WIDTH + 0.03, 1 - (margin.r or 20) / _WIDTH - 0.01
    bottom, top = (margin.b or 60) / height, 1 - (margin.t or 50) / height
    found = {}
    for x_name, y_name in _pairs(layout):
        x, y = layout[_axis(x_name)].domain or (0, 1), layout[_axis(y_name)].domain or (0, 1)
        box = (left + x[0] * (right - left), bottom + y[0] * (top - bottom), (x[1] - x[0]) * (right - left), 0)
        found[x_name, y_name] = canvas.add_axes((*box[:3], (y[1] - y[0]) * (top - bottom)))
    return found


def _pairs(layout: Any) -> Iterable[tuple[str, str]]:
    names = sorted(
        (name for name in layout.to_plotly_json() if name.startswith("xaxis")), key=lambda n: int(n[5:] or 1)
    )
    return [(f"x{name[5:]}", f"y{name[5:]}") for name in names or ["xaxis"]]


def _axis(name: str) -> str:
    return f"{name[0]}axis{name[1:]}"


def _order(places: Mapping[tuple[str, str], Axes], layout: Any) -> None:
    """Tell axes of categories their order before anything is drawn on them."""
    for names, place in places.items():
        for side, name in zip("xy", names, strict=True):
            if (categories := layout[_axis(name)].categoryarray) is not None:
                getattr(place, f"{side}axis").update_units(list(categories))


def _scatter(place: Axes, trace: Any) -> None:
    x, y = np.asarray(trace.x), np.asarray(trace.y)
    if trace.fill == "toself":
        place.fill(x, y, color=_color(trace.fillcolor), linewidth=0)
        return
    mode, line, marker = trace.mode or "lines", trace.line, trace.marker
    label = trace.name if trace.name and trace.showlegend is not False else None
    if trace.error_y.array is not None:
        spread = [trace.error_y.arrayminus or trace.error_y.array, trace.error_y.array]
        place.errorbar(
            x, y, yerr=spread, fmt="none", ecolor=_color(marker.color or line.color), elinewidth=1.3, capsize=3
        )
    if "lines" in mode:
        drawn = "steps-post" if line.shape == "hv" else "default"
        color, style = _color(line.color), _DASHES[line.dash]
        place.plot(x, y, color=color, linestyle=style, linewidth=line.width or 2, drawstyle=drawn, label=label)
        label = None if "markers" not in mode else label
    if "markers" in mode:
        _markers(place, x, y, marker, None if "lines" in mode else label)


def _error_bars(place: Axes, x: Any, y: Any, spread: Any, color: Any) -> None:
    place.errorbar(x, y, yerr=spread, fmt="none", ecolor=color, elinewidth=1.3, capsize=3)


def _markers(place: Axes, x: Any, y: Any, marker: Any, label: str | None) -> None:
    several = not isinstance(marker.color, str) and marker.color is not None
    open_ones = str(marker.symbol or "").endswith("-open")
    paint: dict[str, Any] = {"c": list(marker.color), "cmap": _scale(marker.colorscale)} if several else {}
    if not several:
        color = _color(marker.color)
        paint = {"facecolors": "none" if open_ones else color, "edgecolors": color}
    size = np.square(7 if marker.size is None else marker.size) * 0.5
    dots = place.scatter(
        x, y, s=size, marker=_MARKERS[marker.symbol], alpha=marker.opacity, label=label, zorder=3, **paint
    )
    if several and marker.colorbar.title.text:
        place.figure.colorbar(dots, ax=place, label=marker.colorbar.title.text)


def _bar(place: Axes, trace: Any) -> None:
    across = trace.orientation == "h"
    ends, where = (trace.x, trace.y) if across else (trace.y, trace.x)
    color = trace.marker.color
    paint = [_color(c) for c in color] if isinstance(color, list | tuple) else _color(color)
    heights = np.asarray(ends, dtype=float)
    draw = place.barh if across else place.bar
    label = trace.name if trace.showlegend is not False else None
    bottom = _stacked(place, where, heights)
    if len(heights):
        draw(list(where), heights, 0.8, bottom, color=paint, label=label)


def _stacked(place: Axes, where: Iterable[Any], heights: Any) -> list[float]:
    """Return where the bars begin: on those that stand there already."""
    book: dict[Any, float] = place.__dict__.setdefault("drft_stack", {})
    begin = [book.get(key, 0.0) for key in where]
    book.update({key: start + height for key, start, height in zip(where, begin, heights, strict=True)})
    return begin


def _heatmap(place: Axes, trace: Any) -> None:
    cells = np.asarray(trace.z, dtype=float)
    place.imshow(cells, cmap=_scale(trace.colorscale), aspect="auto", origin="lower")
    place.set_xticks(range(cells.shape[1]), [str(x) for x in trace.x] if trace.x is not None else None)
    place.set_yticks(range(cells.shape[0]), [str(y) for y in trace.y] if trace.y is not None else None)
    words = np.asarray(trace.text if trace.text is not None else cells)
    for (row, column), value in np.ndenumerate(cells):
        dark = value > 0.6 * np.nanmax(cells)
        text = str(words[row, column]).replace("<br>", "\n")
        place.text(column, row, text, ha="center", va="center", color="white" if dark else _INK)


_DRAW: Mapping[str, Callable[[Axes, Any], None]] = MappingProxyType(
    {"scatter": _scatter, "bar": _bar, "heatmap": _heatmap}
)


def _finish(canvas: Figure, places: Mapping[tuple[str, str], Axes], layout: Any) -> None:
    for (x_name, y_name), place in places.items():
        _settle(place, layout[_axis(x_name)], "x")
        _settle(place, layout[_axis(y_name)], "y")
        if layout[_axis(x_name)].showgrid is not False:
            place.grid(axis="x", color="#e3e6ea", linewidth=0.8)
        if layout[_axis(y_name)].showgrid is not False:
            place.grid(axis="y", color="#e3e6ea", linewidth=0.8)
        place.set_axisbelow(True)
        place.spines[["top", "right", "left"]].set_visible(False)
        place.tick_params(colors=_INK, labelsize=9)
    _match(places, layout)
    for shape in layout.shapes:
        _lines(places, shape)
    for note in layout.annotations:
        _title(places, note)
    _legend(canvas, places, layout)


def _settle(place: Axes, axis: Any, side: str) -> None:
    ruler = getattr(place, f"{side}axis")
    if axis.title.text:
        ruler.set_label_text(axis.title.text.replace("<br>", "\n"), color=_INK, fontsize=10)
    if axis.type == "log":  # before its ticks, which another scale would take away
        getattr(place, f"set_{side}scale")("log")
    _tick(place, axis, side)
    if axis.categoryarray is not None:
        getattr(place, f"set_{side}lim")(-0.6, len(axis.categoryarray) - 0.4)
    if axis.range is not None and axis.type != "log":
        getattr(place, f"set_{side}lim")(axis.range)
    elif axis.rangemode == "tozero":
        getattr(place, f"set_{side}lim")(**{("left" if side == "x" else "bottom"): 0})
    if axis.autorange == "reversed":
        ruler.set_inverted(True)


def _tick(place: Axes, axis: Any, side: str) -> None:
    ruler = getattr(place, f"{side}axis")
    if axis.tickformat and "%" in axis.tickformat:
        ruler.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if axis.dtick and axis.type not in {"category", "log"}:
        ruler.set_major_locator(MultipleLocator(float(axis.dtick)))
    if axis.ticktext is not None:
        limits = getattr(place, f"get_{side}lim")()
        ruler.set_ticks(axis.tickvals, [text.replace("<br>", "\n") for text in axis.ticktext])
        if axis.type == "log":  # ticks are written out for any range
            ruler.set_minor_locator(NullLocator())
            getattr(place, f"set_{side}lim")(limits)
    if axis.showticklabels is False:
        ruler.set_tick_params(**{("labelbottom" if side == "x" else "labelleft"): False})


def _match(places: Mapping[tuple[str, str], Axes], layout: Any) -> None:
    """Give axes that match another one its range."""
    for side in ("x", "y"):
        bound = [place for names, place in places.items() if layout[_axis(names[side == "y"])].matches]
        if bound:
            limits = np.array([getattr(place, f"get_{side}lim")() for place in places.values()])
            for place in places.values():
                getattr(place, f"set_{side}lim")(limits[:, 0].min(), limits[:, 1].max())


def _lines(places: Mapping[tuple[str, str], Axes], shape: Any) -> None:
    name = (shape.xref or "x").split()[0], (shape.yref or "y").split()[0]
    place = places.get(name) or next(iter(places.values()))
    style = {
        "color": _color(shape.line.color),
        "linestyle": _DASHES[shape.line.dash],
        "linewidth": shape.line.width or 1,
    }
    if shape.x0 == shape.x1:
        place.axvline(shape.x0, **style)
    elif shape.y0 == shape.y1:
        place.axhline(shape.y0, **style)


def _title(places: Mapping[tuple[str, str], Axes], note: Any) -> None:
    """Put the titles of panels over them; plotly keeps them as annotations of the whole paper."""
    if note.xref == "paper" and note.yref == "paper":
        first = next(iter(places.values())).figure
        boxes = {place: place.get_position() for place in places.values()}
        across = [(box.x0 + box.x1) / 2 for box in boxes.values()]
        left, right = min(box.x0 for box in boxes.values()), max(box.x1 for box in boxes.values())
        low, high = min(box.y0 for box in boxes.values()), max(box.y1 for box in boxes.values())
        x = min(across, key=lambda middle: abs(middle - (left + note.x * (right - left))))
        first.text(x, low + note.y * (high - low) + 0.005, note.text, ha="center", va="bottom", fontsize=9, color=_INK)


def _legend(canvas: Figure, places: Mapping[tuple[str, str], Axes], layout: Any) -> None:
    if layout.showlegend is False:
        return
    found: dict[str, Any] = {}
    for place in places.values():
        for handle, label in zip(*place.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        style = {"ncols": 4, "frameon": False, "fontsize": 9}
        canvas.legend(found.values(), found.keys(), loc="upper center", bbox_to_anchor=(0.5, 1.0), **style)


def _scale(colorscale: Any) -> Colormap:
    stops = [(float(at), _color(color)) for at, color in colorscale or [[0, "#f6f7f9"], [1, "#0072b2"]]]
    return LinearSegmentedColormap.from_list("scale", stops)


def _color(color: str | None) -> Any:
    """Return a CSS colour as Matplotlib knows it."""
    if color is None:
        return _INK
    if color.startswith("rgb"):
        numbers = [float(part) for part in color[color.index("(") + 1 : -1].split(",")]
        return (*(number / 255 for number in numbers[:3]), *numbers[3:])
    return color
