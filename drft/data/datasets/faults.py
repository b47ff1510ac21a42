"""Collect all faults of a data source and raise them together."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from drft.errors import DataError

MAX_FAULTS = 20
"""Faults that an error spells out; the others are counted."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class DataErrors:
    """The faults collected so far, one line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, lines: Iterable[str]) -> None:
        """Add faults, one line each."""
        self.lines.extend(lines)

    def collect(self, make: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Return the results of ``make`` for all items; where it raises a ``DataError``, add its faults instead."""
        results = []
        for item in items:
            try:
                results.append(make(item))
            except DataError as error:
                self.add(error.faults)
        return results

    def raise_all(self) -> None:
        """Raise the collected faults, if there are any.

        Raises:
            DataError: with the first ``MAX_FAULTS`` faults and the number of the others.
        """
        if not self.lines:
            return
        rest = len(self.lines) - MAX_FAULTS
        raise DataError([*self.lines[:MAX_FAULTS], *([f"... and {rest} more"] if rest > 0 else [])])
