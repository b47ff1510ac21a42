"""Collect the faults of several checks, so that a user sees all of them at once."""

from types import TracebackType
from typing import Self

from drft.errors import UsageError


class OptionErrors:
    """The faults collected so far.

    ::

        faults = OptionErrors()
        slots = None
        with faults:  # a UsageError ends this block only; its faults are kept
            slots = find_slots(options)
        faults.raise_all()
    """

    def __init__(self) -> None:
        self._faults: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, UsageError):
            return False
        self._faults += error.faults
        return True

    def raise_all(self) -> None:
        """Raise the collected faults, each of them once, if there are any.

        Raises:
            UsageError: with one line per fault.
        """
        if self._faults:
            raise UsageError(dict.fromkeys(self._faults))
