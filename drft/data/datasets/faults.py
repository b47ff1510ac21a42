"""Collecting every fault of a data source before complaining once."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from drft.errors import DataError

MOST_NAMED = 20
"""How many faults are spelled out; the rest is counted."""

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


class DataErrors:
    """The faults found so far."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, lines: Iterable[str]) -> None:
        """Remember more faults, one line each."""
        self.lines.extend(lines)

    def collect(self, make: Callable[[_Item], _Made], items: Iterable[_Item]) -> list[_Made]:
        """Return what ``make`` makes of the sound items; remember the ``DataError`` of the others."""
        made = []
        for item in items:
            try:
                made.append(make(item))
            except DataError as error:
                self.add(error.faults)
        return made

    def raise_all(self) -> None:
        """Raise what was found, if anything was.

        Raises:
            DataError: with one line per fault, the first ``MOST_NAMED`` of them.
        """
        if not self.lines:
            return
        unnamed = len(self.lines) - MOST_NAMED
        raise DataError([*self.lines[:MOST_NAMED], *([f"... and {unnamed} more"] if unnamed > 0 else [])])
