"""How slow work reports its progress."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with a description of the work, the number of finished items and the number of all items."""


def silent(what: str, done: int, total: int) -> None:
    """Report nothing."""
