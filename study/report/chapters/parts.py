"""The parts of a chapter: figures with captions, tables, texts, code to copy and image galleries."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

import plotly.graph_objects as go

from study.analysis import Withheld

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its caption. Without ``drawings``, the caption gives the reason."""

    kind: ClassVar = "figure"
    id: str
    title: str
    caption: str
    drawings: Mapping[str, go.Figure] = field(default_factory=dict)
    """``wide`` and, where a narrow screen needs another layout, ``narrow``."""


@dataclass(frozen=True, slots=True)
class Code:
    """Texts to copy, such as commands. A click selects the whole of one."""

    kind: ClassVar = "code"
    title: str
    entries: Sequence[tuple[str, str]]
    """What each text is for, and the text."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two parts, side by side on a wide screen."""

    kind: ClassVar = "pair"
    left: Figure | Code
    right: Figure | Code


@dataclass(frozen=True, slots=True)
class Table:
    """A table of formatted texts."""

    kind: ClassVar = "table"
    title: str
    """Name for screen readers."""
    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    kind: ClassVar = "text"
    text: str
    hint: bool = False
    """Whether it is set in small, grey letters."""


@dataclass(frozen=True, slots=True)
class ImageGallery:
    """Images of the data set, each with a line of text. An image that is not available is shown as its id and text."""

    kind: ClassVar = "gallery"
    title: str
    """Name for screen readers."""
    entries: Sequence[tuple[str, str]]
    """Image id and text of each image."""


Part = Figure | Pair | Code | Table | Text | ImageGallery


@dataclass(frozen=True, slots=True)
class Chapter:
    """A section of the page and of the Markdown report."""

    id: str
    name: str
    """Link text in the navigation."""
    heading: str
    parts: Sequence[Part]
    folded: bool = False
    """Whether it is part of the section "Statistics", which is closed at first."""

    @property
    def figures(self) -> Iterator[Figure]:
        """The figures, in order."""
        for part in self.parts:
            sides = (part.left, part.right) if isinstance(part, Pair) else (part,)
            yield from (side for side in sides if isinstance(side, Figure))

    @property
    def images(self) -> Iterator[str]:
        """The ids of the images in galleries, in order."""
        for part in self.parts:
            if isinstance(part, ImageGallery):
                yield from (name for name, _ in part.entries)


def make_figure(
    name: str,
    title: str,
    statistic: T | Withheld,
    draw: Callable[[T], go.Figure],
    caption: Callable[[T], str],
    *,
    draw_narrow: Callable[[T], go.Figure] | None = None,
) -> Figure:
    """Draw a statistic, or give the reason why it is withheld."""
    if isinstance(statistic, Withheld):
        return Figure(name, title, f"Not shown: {statistic.reason}.")
    drawings = {"wide": draw(statistic)}
    if draw_narrow is not None:
        drawings["narrow"] = draw_narrow(statistic)
    return Figure(name, title, caption(statistic), drawings)
