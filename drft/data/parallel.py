"""The same work on many files, on all cores, with faults told apart from crashes.

Threads suffice: reading, hashing, decoding and resizing all run outside the interpreter lock.
"""

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from drft.data.progress import Progress
from drft.errors import DataError

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


def attempts(
    work: Callable[[_Item], _Made], items: Sequence[_Item], what: str, progress: Progress
) -> closing[Generator[_Made | DataError, None, None]]:
    """Return the results of ``work`` in the order of ``items``, to be used in a ``with`` statement.

    A ``DataError`` is a result like any other. Leaving the ``with`` statement early drops the work not yet begun.
    """
    return closing(_attempts(work, items, what, progress))


def _attempts(
    work: Callable[[_Item], _Made], items: Sequence[_Item], what: str, progress: Progress
) -> Generator[_Made | DataError, None, None]:
    def attempt(item: _Item) -> _Made | DataError:
        try:
            return work(item)
        except DataError as error:
            return error

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for done, result in enumerate(pool.map(attempt, items), start=1):
            progress(what, done, len(items))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
