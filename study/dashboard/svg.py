"""Small images of one trial in SVG, as functions from numbers to text."""

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from study.report.style import QUIET, TRAIN, VALIDATION

_INK = "#333a44"
_WIDTH, _HEIGHT = 480, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 44, 46


def curves_svg(epochs: pd.DataFrame, *, best: int, title: str) -> str:
    """Draw training (dashed) and validation (solid) accuracy by epoch.

    A ring marks the best epoch, a dotted line the end of the head phase.

    Args:
        epochs: columns ``step``, ``phase``, ``train_accuracy`` and ``val_accuracy``, one row per epoch.
        best: the ``step`` of the best epoch.
        title: one line above the figure.
    """
    low, high = _round_range(epochs[["train_accuracy", "val_accuracy"]].to_numpy())
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
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, "epoch", anchor="middle"))
    if 0 < head < len(epochs):
        parts.append(_line(x(head + 0.5), _TOP, x(head + 0.5), _HEIGHT - _BOTTOM, QUIET, dash="2 3"))
    for column, color, dash in (("train_accuracy", TRAIN, "6 4"), ("val_accuracy", VALIDATION, "")):
        corners = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(epochs["step"], epochs[column], strict=True))
        stroke = f'stroke="{color}" stroke-width="2.2" stroke-dasharray="{dash}"'
        parts.append(f'<polyline points="{corners}" fill="none" {stroke}/>')
    reached = float(epochs.loc[epochs["step"] == best, "val_accuracy"].iloc[0])
    parts.append(_ring(x(best), y(reached)))
    parts += [_line(_LEFT, 32, _LEFT + 24, 32, TRAIN, width=2.2, dash="6 4"), _text(_LEFT + 30, 36, "training")]
    parts += [_line(_LEFT + 100, 32, _LEFT + 124, 32, VALIDATION, width=2.2), _text(_LEFT + 130, 36, "validation")]
    parts += [_ring(_LEFT + 222, 32), _text(_LEFT + 234, 36, f"best epoch {best}: {reached:.1%}")]
    return _image(parts)


def confusion_svg(grades: NDArray[np.int64], predicted: NDArray[np.int64], names: Sequence[str], *, title: str) -> str:
    """Draw a confusion matrix; cells are shaded by their share of the row.

    Args:
        grades: true classes, of shape (images,).
        predicted: predicted classes, of shape (images,).
        names: names of the classes; classes without a name are numbered.
        title: one line above the figure.
    """
    n = max(int(grades.max()), int(predicted.max()), len(names) - 1) + 1
    counts = confusion_matrix(grades, predicted, labels=range(n))
    left, top = 130, 62
    width, height = (_WIDTH - left - _RIGHT) / n, (_HEIGHT - top - 30) / n
    parts = [
        _text(12, 18, title, size=14, weight="bold"),
        _text(12, 38, f"{np.trace(counts)} of {counts.sum()} correct ({np.trace(counts) / counts.sum():.1%})"),
        _text(left + n * width / 2, _HEIGHT - 8, "predicted", anchor="middle"),
    ]
    for row in range(n):
        name = names[row] if row < len(names) else f"class {row}"
        parts.append(_text(left - 8, top + (row + 0.5) * height + 4, f"{name} ({row})", anchor="end"))
        parts.append(_text(left + (row + 0.5) * width, top - 6, str(row), anchor="middle"))
        for column in range(n):
            share = counts[row, column] / max(1, counts[row].sum())
            parts.append(_cell(left + column * width, top + row * height, width, height, share))
            ink = "#ffffff" if share > 0.55 else _INK
            middle = (left + (column + 0.5) * width, top + (row + 0.5) * height + 4)
            parts.append(_text(*middle, str(counts[row, column]), anchor="middle", color=ink))
    return _image(parts)


def _round_range(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return multiples of 0.1 around all values, at least 0.2 apart."""
    low, high = np.floor(np.nanmin(values) * 10) / 10, np.ceil(np.nanmax(values) * 10) / 10
    if high - low < 0.2:
        low, high = max(0.0, high - 0.2), max(0.2, high)
    return float(low), float(high)


def _image(parts: Iterable[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'font-family="system-ui, sans-serif"><rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>'
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, color: str = _INK, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{color}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, color: str, *, width: float = 1.0, dash: str = "") -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{color}" stroke-width="{width}" stroke-dasharray="{dash}"/>'


def _ring(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="none" stroke="{_INK}" stroke-width="2"/>'


def _cell(x: float, y: float, width: float, height: float, share: float) -> str:
    box = f'x="{x + 1:.1f}" y="{y + 1:.1f}" width="{width - 2:.1f}" height="{height - 2:.1f}"'
    return f'<rect {box} fill="{VALIDATION}" fill-opacity="{0.06 + 0.94 * share:.3f}"/>'
