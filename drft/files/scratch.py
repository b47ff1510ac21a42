"""Temporary folders that are deleted even if their process is killed: at the latest when the next one is made."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from filelock import BaseFileLock, FileLock

_LOCK = ".lock"
_PREFIX = "drft-"
_SHORT = "/tmp"  # noqa: S108 (the folder that is made in it has a random name, and is for its owner alone)


class ScratchFolder:
    """A temporary folder of this process. Another process takes it for left behind when this one has ended.

    Args:
        longest: the most characters that the path of its parent may have, since the paths of sockets are limited to 107
            bytes. If that of the folder for temporary files is longer, it is made in ``/tmp``.
    """

    def __init__(self, longest: int) -> None:
        parent = tempfile.gettempdir()
        parent = parent if len(parent) <= longest or not Path(_SHORT).is_dir() else _SHORT
        delete_left_behind(Path(parent))
        # It is locked before it gets its name: without a lock it would be taken for left behind.
        draft = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))
        self._lock: BaseFileLock | None = FileLock(draft / _LOCK)
        try:
            self._lock.acquire(timeout=0)
        except (OSError, NotImplementedError):  # a file system without locks: nobody else deletes the folder
            self._lock = None
            (draft / _LOCK).unlink(missing_ok=True)
        self.path = str(draft.rename(draft.with_name(draft.name.removeprefix("."))))

    def delete(self) -> None:
        """Delete the folder, even if something is still being written there."""
        for _ in range(3):  # a process that is just ending may write the last line of its log
            shutil.rmtree(self.path, ignore_errors=True)
            if not Path(self.path).exists():
                break
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._lock.release()


def delete_left_behind(parent: Path) -> None:
    """Delete the scratch folders of processes that were killed; those of other users stay."""
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError, NotImplementedError):  # a timeout, too: its process lives
            if hasattr(os, "getuid") and lock.stat().st_uid != os.getuid():
                continue
            with FileLock(lock).acquire(timeout=0):
                shutil.rmtree(lock.parent, ignore_errors=True)
