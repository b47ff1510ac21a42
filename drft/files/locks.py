"""Locks between processes that a killed holder lets go of, and that no file system can turn into an error."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock


@contextlib.contextmanager
def holding(path: Path, patience: float) -> Iterator[None]:
    """Hold the lock file ``path`` during the block.

    Where it cannot be had, the block runs without: these locks save work, they guard no result. The operating system
    frees the lock of a process that dies. Taking a lock again in the thread that holds it is fine.

    Args:
        path: the lock file; its folder is made.
        patience: seconds to wait for another holder, who may have been stopped.
    """
    lock = _acquire(path, patience)
    try:
        yield
    finally:
        if lock is not None:
            with contextlib.suppress(OSError):
                lock.release()


def _acquire(path: Path, patience: float) -> FileLock | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One object for each path: two of them in one process would wait for each other.
        lock = FileLock(path, is_singleton=True)
        lock.acquire(timeout=patience, poll_interval=0.01)
    except (OSError, NotImplementedError):  # a timeout is an OSError; no locks on this file system may be either
        return None
    return lock
