"""Eviction: which files are deleted when the disk budget is used up."""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from drft.feature_cache.index import LOCKS, StoredFile, stored_files
from drft.files.locks import holding
from drft.files.sizes import disk_space

STALE = 24 * 3600.0
"""Seconds without use after which a file is evicted before all others, however much time it saves."""

_LOCK_TIMEOUT = 30.0
"""Seconds to wait for another process that holds the lock of the budget."""


class DiskBudget:
    """Keeps the folder of activations within its budget, together with all other processes that use it.

    The processes add up the sizes of the files that they write in one file, under a lock. This total is never too low:
    it still includes files that were deleted or not written to the end. When it exceeds the budget, the folder is
    listed and the total is corrected. A draft has the size of the complete file from the start, so that a listing
    counts files that are being written in full.

    Args:
        folder: the folder of activations.
        budget: the largest total size in bytes.
        before_evicting: called before files are deleted, to close files that are deleted already: the disk space of a
            mapped file is not free.
    """

    def __init__(self, folder: Path, budget: int, before_evicting: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._budget = budget
        self._before_evicting = before_evicting
        self._total_file = folder / LOCKS / "used"
        self._total_is_valid = False
        """Whether the total can be used: not before the first listing, nor after it could not be written."""

    def reserve(self, draft: Path, size: int, seconds_per_byte: float) -> bool:
        """Make room for a new file, unless the files to evict save more time; give its draft the final size.

        Args:
            draft: the empty draft of the new file.
            size: final size of the new file, in bytes.
            seconds_per_byte: computing time that one byte of it saves.

        Returns:
            Whether the file may be written.

        Raises:
            OSError: when the free space cannot be determined, or the draft cannot be enlarged.
        """
        # The name of the lock file is that of earlier versions, which may use the folder at the same time.
        with holding(self._folder / LOCKS / "room", _LOCK_TIMEOUT):
            used = self._read_total()
            total, free = disk_space(self._folder)
            if used is not None and used + size <= self._budget and free - size >= _reserve(total):
                fits = True
            else:
                used, fits = self._evict(size, seconds_per_byte)
            if fits:
                os.truncate(draft, size)
            self._total_is_valid = False
            with contextlib.suppress(OSError):
                self._total_file.write_text(str(used + size if fits else used), encoding="ascii")
                self._total_is_valid = True
        return fits

    def _evict(self, size: int, seconds_per_byte: float) -> tuple[int, bool]:
        """Evict files; return the total size of the others, and whether ``size`` more bytes may be written."""
        self._before_evicting()
        files = stored_files(self._folder)
        used = sum(file.size for file in files)
        total, free = disk_space(self._folder)
        excess = max(used - self._budget, _reserve(total) - free, 0)
        need = max(used + size - self._budget, _reserve(total) + size - free, 0)
        evicted, admitted = files_to_evict(files, excess, need, seconds_per_byte, time.time())
        freed = sum(file.size for file in evicted if _delete(file.path))
        return used - freed, admitted and freed >= need

    def _read_total(self) -> int | None:
        """Return the total size of all files as the writers count it; None if the folder must be listed."""
        if not self._total_is_valid:
            return None
        try:
            return int(self._total_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


def files_to_evict(
    files: Iterable[StoredFile], excess: int, need: int, seconds_per_byte: float, now: float
) -> tuple[Sequence[StoredFile], bool]:
    """Choose the files to delete for a new one, which may not evict a recently used file that saves more time.

    Files unused for a day go first, those with the oldest use before others. Then go those that save the least time
    per byte; among equals, again those with the oldest use first.

    Args:
        files: all stored files.
        excess: bytes to delete even without the new file.
        need: bytes to delete to make room for the new file, including ``excess``.
        seconds_per_byte: computing time that one byte of the new file saves.
        now: the time, in seconds since 1970.

    Returns:
        The files to delete, and whether the new file may be written.
    """

    def is_stale(file: StoredFile) -> bool:
        return file.is_draft or now - file.last_used > STALE

    def rank(file: StoredFile) -> tuple[bool, float, float]:
        stale = is_stale(file)
        return not stale, 0.0 if stale else file.seconds_per_byte, file.last_used

    evictable = (file for file in files if not file.is_draft or file.is_abandoned(now))
    ranked = sorted(evictable, key=rank)
    required, wanted = _first_with_size(ranked, excess), _first_with_size(ranked, need)
    optional = wanted[len(required) :]
    allowed = all(is_stale(file) or file.seconds_per_byte <= seconds_per_byte for file in optional)
    if allowed and sum(file.size for file in wanted) >= need:
        return wanted, True
    return required, False


def _first_with_size(files: Sequence[StoredFile], size: int) -> Sequence[StoredFile]:
    """Return the first files that have at least ``size`` bytes together; all files if these have less."""
    total = 0
    for count, file in enumerate(files):
        if total >= size:
            return files[:count]
        total += file.size
    return files


def _reserve(total: int) -> int:
    """Return the bytes to leave free on a disk of ``total`` bytes: 2 % of it, at most 1 GiB."""
    return min(2**30, total // 50)


def _delete(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # of another user, or open on Windows
        return False
    return True
