"""All faults of a command, raised together: a user mends it once and not five times."""

from collections.abc import Callable
from typing import TypeVar

from drft.errors import UsageError

Made = TypeVar("Made")


class OptionErrors:
    """Collects what the user has to mend."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def attempt(self, make: Callable[[], Made]) -> Made | None:
        """Return what ``make`` makes, or None after taking down its faults."""
        try:
            return make()
        except UsageError as error:
            self._found += error.faults
            return None

    def raise_all(self) -> None:
        """Raise everything that was found.

        Raises:
            UsageError: when there is anything.
        """
        if self._found:
            raise UsageError(dict.fromkeys(self._found))
