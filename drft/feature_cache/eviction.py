"""Which activations stay on disk when there is no room for all of them."""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from drft.feature_cache.index import LOCKS, StoredFile, stored_files
from drft.files.locks import holding
from drft.files.sizes import disk_space

STALE = 24 * 3600.0
"""Seconds without use after which an entry goes before all others, whatever it is worth."""

_PATIENCE = 30.0
"""Seconds to wait for another process that makes room."""


class DiskBudget:
    """Keeps a folder of activations within its budget, together with every other process that uses it.

    All of them reckon in one file, under a lock, what they wrote. That figure is never too low: what is deleted or
    fails to be written stays in it, until it exceeds the budget and the folder is looked through. A draft has the
    size of the whole file from the start, so that nobody who looks counts too little.

    Args:
        folder: the folder of activations.
        budget: the bytes it may hold.
        before_evicting: called before files are deleted, to let go of files that are deleted already: one that is
            mapped still takes its place on the disk.
    """

    def __init__(self, folder: Path, budget: int, before_evicting: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._budget = budget
        self._before_evicting = before_evicting
        self._ledger_holds = False

    def reserve(self, draft: Path, size: int, worth: float) -> bool:
        """Make room for a file if it is worth it, and give its draft the size it will have.

        Args:
            draft: the empty file that will be written.
            size: its size to be, in bytes.
            worth: the seconds of computing that one of its bytes saves.

        Returns:
            Whether the file may be written.

        Raises:
            OSError: when the disk cannot be asked for its free space, or the draft not be made larger.
        """
        with holding(self._folder / LOCKS / "room", _PATIENCE):
            used = self._read_ledger()
            total, free = disk_space(self._folder)
            fits = used is not None and used + size <= self._budget and free - size >= _kept_free(total)
            if not fits:
                used, fits = self._evict(size, worth)
            assert used is not None
            if fits:
                os.truncate(draft, size)
            self._write_ledger(used + size if fits else used)
        return fits

    def _evict(self, size: int, worth: float) -> tuple[int, bool]:
        """Return the bytes in use after what had to go is gone, and whether ``size`` more may come."""
        self._before_evicting()
        files = stored_files(self._folder)
        used = sum(file.size for file in files)
        total, free = disk_space(self._folder)
        excess = max(used - self._budget, _kept_free(total) - free, 0)
        need = max(used + size - self._budget, _kept_free(total) + size - free, 0)
        victims, admitted = choose_victims(files, excess, need, worth, time.time())
        freed = sum(file.size for file in victims if _delete(file.path))
        return used - freed, admitted and freed >= need

    def _read_ledger(self) -> int | None:
        """Return the bytes in use as all writers reckon them; None if that must be looked up."""
        if not self._ledger_holds:
            return None
        try:
            return int(self._ledger.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def _write_ledger(self, used: int) -> None:
        self._ledger_holds = False
        with contextlib.suppress(OSError):
            self._ledger.write_text(str(used), encoding="ascii")
            self._ledger_holds = True

    @property
    def _ledger(self) -> Path:
        return self._folder / LOCKS / "used"


def choose_victims(
    files: Iterable[StoredFile], excess: int, need: int, worth: float, now: float
) -> tuple[Sequence[StoredFile], bool]:
    """Choose what to delete for a new file, which must not drive out anything fresh that is worth more.

    What nobody used for a day goes first, the oldest use before others; then what is worth least, among equals
    again the oldest use first.

    Args:
        files: all there are.
        excess: bytes that must go in any case.
        need: bytes that must go for the new file to come, ``excess`` among them.
        worth: what the new file is worth, in seconds saved by one byte.
        now: the time, in seconds since 1970.

    Returns:
        The files to delete, and whether the new one may come.
    """
    ranked = sorted((f for f in files if not f.is_draft or f.is_abandoned(now)), key=lambda file: _rank(file, now))
    forced, wanted = _until(excess, ranked), _until(need, ranked)
    fair = all(_is_stale(file, now) or file.worth <= worth for file in wanted[len(forced) :])
    if fair and sum(file.size for file in wanted) >= need:
        return wanted, True
    return forced, False


def _rank(file: StoredFile, now: float) -> tuple[bool, float, float]:
    stale = _is_stale(file, now)
    return not stale, 0.0 if stale else file.worth, file.used


def _is_stale(file: StoredFile, now: float) -> bool:
    return file.is_draft or now - file.used > STALE


def _until(size: int, ranked: Sequence[StoredFile]) -> Sequence[StoredFile]:
    """Return the first files that have ``size`` bytes together, or all."""
    taken = 0
    for count, file in enumerate(ranked):
        if taken >= size:
            return ranked[:count]
        taken += file.size
    return ranked


def _kept_free(total: int) -> int:
    """Return the bytes to leave free on a disk: 2 % of it, at most 1 GiB."""
    return min(2**30, total // 50)


def _delete(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # of another user, or open on Windows
        return False
    return True
