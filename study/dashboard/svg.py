"""Small images of one trial, in SVG: each a plain function from numbers to text."""

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.report.style import QUIET, TRAIN, VALIDATION

_INK = "#333a44"
_WIDTH, _HEIGHT = 480, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 44, 46


def curves_svg(epochs: pd.DataFrame, *, best: int, title: str) -> str:
    """Draw training (dashed) and validation (solid) accuracy over steps.

    A ring marks the best step, a dotted line ends the head phase.

    Args:
        epochs: columns ``step``, ``phase``, ``train_accuracy`` and ``val_accuracy``, one row per step.
        best: the best step.
        title: one line above it.
    """
    low, high = _round_range(pd.concat([epochs["train_accuracy"], epochs["val_accuracy"]]))
    last, head = max(2, int(epochs["step"].max())), int((epochs["phase"] == "head").sum())

    def x(step: float) -> float:
        return _LEFT + (step - 1) / (last - 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(accuracy: float) -> float:
        return _TOP + (high - accuracy) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_text(_LEFT, 18, title, size=14, weight="bold")]
    for accuracy in np.arange(low, high + 1e-9, 0.1 if high - low <= 0.6 else 0.2):
        parts.append(_line(_LEFT, y(accuracy), _WIDTH - _RIGHT, y(accuracy), QUIET, width=0.4))
        parts.append(_text(_LEFT - 6, y(accuracy) + 4, f"{accuracy:.0%}", anchor="end"))
    ticks = range(1, last + 1, max(1, round(last / 10)))
    parts += [_text(x(step), _HEIGHT - _BOTTOM + 18, str(step), anchor="middle") for step in ticks]
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, "step", anchor="middle"))
    if 0 < head < len(epochs):
        parts.append(_line(x(head + 0.5), _TOP, x(head + 0.5), _HEIGHT - _BOTTOM, QUIET, dash="2 3"))
    for column, color, dash in (("train_accuracy", TRAIN, "6 4"), ("val_accuracy", VALIDATION, "")):
        points = [(x(step), y(value)) for step, value in zip(epochs["step"], epochs[column], strict=True)]
        parts.append(_path(points, color, dash))
    reached = float(epochs.loc[epochs["step"] == best, "val_accuracy"].iloc[0])
    parts.append(_ring(x(best), y(reached)))
    return _image([*parts, *_legend(f"best step {best}: {reached:.1%}")])


def confusion_svg(grades: NDArray[np.int64], predicted: NDArray[np.int64], names: Sequence[str], *, title: str) -> str:
    """Draw how many images of each grade were graded how; cells are shaded by their share of the row.

    Args:
        grades: of shape (images,).
        predicted: of shape (images,).
        names: of the grades; they are numbered where names are missing.
        title: one line above it.
    """
    n = max(int(grades.max()), int(predicted.max()), len(names) - 1) + 1
    counts = np.zeros((n, n), dtype=np.int64)
    np.add.at(counts, (grades, predicted), 1)
    left, top = 130, 62
    width, height = (_WIDTH - left - _RIGHT) / n, (_HEIGHT - top - 30) / n
    parts = [
        _text(12, 18, title, size=14, weight="bold"),
        _text(12, 38, f"{np.trace(counts)} of {counts.sum()} right ({np.trace(counts) / counts.sum():.1%})"),
        _text(left + n * width / 2, _HEIGHT - 8, "predicted", anchor="middle"),
    ]
    for row in range(n):
        name = names[row] if row < len(names) else f"grade {row}"
        parts.append(_text(left - 8, top + (row + 0.5) * height + 4, f"{name} ({row})", anchor="end"))
        parts.append(_text(left + (row + 0.5) * width, top - 6, str(row), anchor="middle"))
        for column in range(n):
            share = counts[row, column] / max(1, counts[row].sum())
            parts.append(_cell(left + column * width, top + row * height, width, height, share))
            ink = "#ffffff" if share > 0.55 else _INK
            middle = (left + (column + 0.5) * width, top + (row + 0.5) * height + 4)
            parts.append(_text(*middle, str(counts[row, column]), anchor="middle", color=ink))
    return _image(parts)


def _legend(best: str) -> list[str]:
    lines = [_line(_LEFT, 32, _LEFT + 24, 32, TRAIN, width=2.2, dash="6 4"), _text(_LEFT + 30, 36, "training")]
    lines += [_line(_LEFT + 100, 32, _LEFT + 124, 32, VALIDATION, width=2.2), _text(_LEFT + 130, 36, "validation")]
    return [*lines, _ring(_LEFT + 222, 32), _text(_LEFT + 234, 36, best)]


def _round_range(values: pd.Series) -> tuple[float, float]:
    """Return tenths that hold all values and are at least 0.2 apart."""
    low, high = np.floor(values.min() * 10) / 10, np.ceil(values.max() * 10) / 10
    if high - low < 0.2:
        low, high = max(0.0, high - 0.2), max(0.2, high)
    return float(low), float(high)


def _image(parts: Iterable[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'font-family="system-ui, sans-serif"><rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>'
    )


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, color: str = _INK, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{color}">{escape(words)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, color: str, *, width: float = 1.0, dash: str = "") -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{color}" stroke-width="{width}" stroke-dasharray="{dash}"/>'


def _ring(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="none" stroke="{_INK}" stroke-width="2"/>'


def _path(points: Iterable[tuple[float, float]], color: str, dash: str) -> str:
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{corners}" fill="none" stroke="{color}" stroke-width="2.2" stroke-dasharray="{dash}"/>'


def _cell(x: float, y: float, width: float, height: float, share: float) -> str:
    place = f'x="{x + 1:.1f}" y="{y + 1:.1f}" width="{width - 2:.1f}" height="{height - 2:.1f}"'
    return f'<rect {place} fill="{VALIDATION}" fill-opacity="{0.06 + 0.94 * share:.3f}"/>'
