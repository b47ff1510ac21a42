"""What chapters are made of: figures with captions in words, tables, and text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

import plotly.graph_objects as go

from study.analysis import Withheld

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the page; without ``drawings`` the caption is the reason."""

    kind: ClassVar = "exhibit"
    id: str
    title: str
    caption: str
    drawings: Mapping[str, go.Figure] = field(default_factory=dict)
    """``wide`` and, where a phone needs another arrangement, ``narrow``."""


@dataclass(frozen=True, slots=True)
class FigurePair:
    """Two figures side by side, where there is room."""

    kind: ClassVar = "pair"
    left: Figure
    right: Figure


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts that are ready to print."""

    kind: ClassVar = "table"
    title: str
    """Its name for readers who do not see it."""
    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    kind: ClassVar = "text"
    text: str


@dataclass(frozen=True, slots=True)
class ImageGallery:
    """Images of the data set with a line of text each; where they cannot be shown, ids and texts remain."""

    kind: ClassVar = "gallery"
    title: str
    """Its name for readers who do not see it."""
    entries: Sequence[tuple[str, str]]
    """Id of the image, and what is said of it."""


Part = Figure | FigurePair | Table | Text | ImageGallery


@dataclass(frozen=True, slots=True)
class Chapter:
    """A section of the page, and of the Markdown report."""

    id: str
    name: str
    """In the navigation."""
    heading: str
    parts: Sequence[Part]

    @property
    def exhibits(self) -> Iterator[Figure]:
        """The figures, in their order."""
        for part in self.parts:
            if isinstance(part, Figure):
                yield part
            elif isinstance(part, FigurePair):
                yield from (part.left, part.right)

    @property
    def images(self) -> Iterator[str]:
        """The ids of the images that are to be shown, in their order."""
        for part in self.parts:
            if isinstance(part, ImageGallery):
                yield from (name for name, _ in part.entries)


def exhibit(
    name: str,
    title: str,
    statistic: T | Withheld,
    draw: Callable[[T], Mapping[str, go.Figure]],
    caption: Callable[[T], str],
) -> Figure:
    """Draw a statistic, or say why it is not drawn."""
    if isinstance(statistic, Withheld):
        return Figure(name, title, f"Not shown: {statistic.reason}.")
    return Figure(name, title, caption(statistic), draw(statistic))


def wide(drawing: go.Figure) -> Mapping[str, go.Figure]:
    """Show a drawing on wide and narrow screens alike."""
    return {"wide": drawing}
