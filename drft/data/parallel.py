"""The same work on many files, on all cores; a fault of one file does not stop the others.

Threads are enough: reading, hashing, decoding and resizing all release the global interpreter lock.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from drft.data.progress import Progress
from drft.errors import DataError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@contextmanager
def attempts(
    work: Callable[[_Item], _Result], items: Sequence[_Item], what: str, progress: Progress
) -> Iterator[Iterator[_Result | DataError]]:
    """Yield the results of ``work`` in the order of ``items``, for use in a ``with`` statement.

    A ``DataError`` that ``work`` raises is a result like any other. Leaving the ``with`` statement early cancels the
    work that has not begun.

    Args:
        work: called with one item, in any of several threads.
        items: its arguments.
        what: description of the work for ``progress``.
        progress: called after each item.
    """

    def attempt(item: _Item) -> _Result | DataError:
        try:
            return work(item)
        except DataError as error:
            return error

    def results() -> Iterator[_Result | DataError]:
        for done, result in enumerate(pool.map(attempt, items), start=1):
            progress(what, done, len(items))
            yield result

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield results()
    finally:
        pool.shutdown(cancel_futures=True)
