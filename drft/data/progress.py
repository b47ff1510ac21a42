"""How long work tells the one who waits how far it is."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done and how many there are in all."""


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""
