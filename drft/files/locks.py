"""Locks between processes. The lock of a killed process is free again, and a missing lock is never an error."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock


@contextlib.contextmanager
def holding(path: Path, timeout: float) -> Iterator[None]:
    """Hold the lock file ``path`` during the block.

    When the lock cannot be acquired, the block runs without it: these locks avoid duplicate work, no result depends
    on them. The operating system frees the lock of a process that dies. A thread may acquire a lock that it
    already holds.

    Args:
        path: the lock file; its folder is created.
        timeout: seconds to wait for another holder, which may be a stopped process.
    """
    lock = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One object for each path: two objects in one process would wait for each other.
        lock = FileLock(path, is_singleton=True)
        lock.acquire(timeout=timeout, poll_interval=0.01)
    except (OSError, NotImplementedError):  # a timeout is an OSError; a file system without locks raises either
        lock = None
    try:
        yield
    finally:
        if lock is not None:
            with contextlib.suppress(OSError):
                lock.release()
