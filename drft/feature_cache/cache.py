"""Cache entries in the cache folder, which many workers and studies use at the same time.

A cache group is a folder of entries that were computed in the same way (weights, boundary, precision ...); an entry
holds, for example, the features of all training images in the views of one epoch. Files are memory-mapped, so that all
workers share one copy in the page cache. A failing disk is no error: entries that cannot be stored stay in memory or
are computed again.
"""

import contextlib
import logging
import os
import re
import time
import zlib
from collections import OrderedDict
from contextlib import AbstractContextManager
from pathlib import Path

from drft.feature_cache.cache_file import (
    Activations,
    CacheEntry,
    DamagedFileError,
    entry_file_size,
    open_entry,
    write_entry,
)
from drft.feature_cache.eviction import DiskBudget
from drft.feature_cache.index import LOCKS, SUFFIX, CacheGroup, get_or_write_group
from drft.files.atomic import whole_file
from drft.files.locks import holding

_log = logging.getLogger(__name__)

_LOCK_FILES = 64
"""Number of lock files that all entries share, so that lock files do not accumulate."""

_LOCK_TIMEOUT = 600.0
"""Seconds to wait for a worker that computes the same entry; one that takes longer is assumed to be stopped."""

_TOUCH_INTERVAL = 3600.0
"""Seconds between updates of the time of last use of an open entry."""

_UNSTORED_SHARE = 4
"""One over the part of the memory limit for entries in no file: the system cannot drop their pages."""


class ActivationCache:
    """Entries by group and name: in files within a disk budget, and the most recently used ones open in memory.

    Only one thread of a process may use it.

    Args:
        folder: folder of the files; created with the first file.
        budget: the largest total size in bytes of all files in the folder; 0 stores nothing.
        memory: the largest total size in bytes of the entries that this process keeps open; None for
            ``default_memory()``. Entries in no file may take a quarter of it.
    """

    def __init__(self, folder: Path, budget: int, memory: int | None = None) -> None:
        self._folder = folder
        self._budget = budget
        self._disk_budget = DiskBudget(folder, budget, before_evicting=self._close_deleted)
        memory = default_memory() if memory is None else memory
        self._mapped = _LRU(memory)
        self._unstored = _LRU(memory // _UNSTORED_SHARE)
        self._verified: dict[Path, tuple[int, int]] = {}
        self._touched: dict[Path, float] = {}
        self._warned: set[str] = set()

    def get(self, group: CacheGroup, name: str) -> CacheEntry | None:
        """Return an entry, or None if it must be computed. A damaged file is deleted with a warning.

        Raises:
            ValueError: when the group's key or the name cannot be part of a file name.
        """
        path = self._path(group, name)
        entry = self._mapped.get(path) or self._unstored.get(path) or self._load(path)
        if entry is not None and entry.stored:
            self._touch(path)
        return entry

    def put(self, group: CacheGroup, name: str, activations: Activations) -> CacheEntry:
        """Store activations if the disk budget admits them; otherwise keep them in memory for a while.

        The cache takes over the tensors: the caller must not write to them afterwards.

        Returns:
            An entry that can be used in either case.

        Raises:
            ValueError: when the group's key or the name cannot be part of a file name.
            TypeError: when a tensor is neither of a float type nor of bytes.
        """
        path = self._path(group, name)
        unstored = CacheEntry.in_memory(activations)
        stored = self._store(path, group, unstored)
        if stored is None:
            self._unstored.add(path, unstored)
        else:
            self._unstored.drop(path)
        return stored or unstored

    def lock(self, group: CacheGroup, name: str) -> AbstractContextManager[None]:
        """Return a context in which no other worker computes this entry. Call ``get`` again at its beginning.

        Entries may share a lock file: do not take two locks. The context never fails: on a file system without locks
        it does not exclude other workers.
        """
        number = zlib.crc32(f"{group.key}/{name}".encode()) % _LOCK_FILES
        return holding(self._folder / LOCKS / f"{number:02d}", _LOCK_TIMEOUT)

    def _path(self, group: CacheGroup, name: str) -> Path:
        for part in (group.key, name):
            if not re.fullmatch(r"\w[\w.-]{0,199}", part, re.ASCII):
                raise ValueError(f"{part!r} cannot name a file: use up to 200 letters, digits, '.', '_' and '-'")
        return self._folder / group.key / f"{name}{SUFFIX}"

    def _store(self, path: Path, group: CacheGroup, entry: CacheEntry) -> CacheEntry | None:
        if entry_file_size(entry) > self._budget:
            return None
        try:
            self._write(path, entry, get_or_write_group(path.parent, group).seconds_per_byte)
        except _NotAdmittedError:
            return None
        except OSError as error:
            reason = error.strerror or error
            self._warn_once("write", f"{self._folder}: activations cannot be stored ({reason}), they stay in memory")
            return None
        return self._load(path)

    def _write(self, path: Path, entry: CacheEntry, seconds_per_byte: float) -> None:
        with whole_file(path, durable=False) as draft:
            if not self._disk_budget.reserve(draft, entry_file_size(entry), seconds_per_byte):
                raise _NotAdmittedError
            write_entry(draft, entry)
        self._verified[path] = _identity(path)

    def _load(self, path: Path) -> CacheEntry | None:
        try:
            identity = _identity(path)
            entry = open_entry(path, verify=self._verified.get(path) != identity)
        except FileNotFoundError:
            return None
        except DamagedFileError as error:
            self._warn_once(str(path), f"{path}: damaged ({error}), it is deleted and computed again")
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        except (OSError, RuntimeError) as error:  # torch raises a RuntimeError when a file cannot be mapped
            self._warn_once("read", f"{path}: cannot be read ({error}), activations are computed again")
            return None
        self._verified[path] = identity
        self._mapped.add(path, entry)
        return entry

    def _touch(self, path: Path) -> None:
        """Set the time of last use of a file to now, at most once an hour."""
        now = time.monotonic()
        if now - self._touched.get(path, -_TOUCH_INTERVAL) >= _TOUCH_INTERVAL:
            self._touched[path] = now
            with contextlib.suppress(OSError):
                os.utime(path)

    def _close_deleted(self) -> None:
        for path in self._mapped.paths():
            if not path.exists():
                self._mapped.drop(path)

    def _warn_once(self, subject: str, message: str) -> None:
        if subject not in self._warned:
            self._warned.add(subject)
            _log.warning("%s", message)


class _NotAdmittedError(Exception):
    """The disk budget has no room for an entry; raised so that ``whole_file`` deletes its draft."""


class _LRU:
    """The most recently used entries, up to a total size in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._entries: OrderedDict[Path, CacheEntry] = OrderedDict()

    def get(self, path: Path) -> CacheEntry | None:
        if path in self._entries:
            self._entries.move_to_end(path)
        return self._entries.get(path)

    def add(self, path: Path, entry: CacheEntry) -> None:
        self.drop(path)
        self._entries[path] = entry
        self._size += entry.size
        while self._size > self._limit:
            self.drop(next(iter(self._entries)))

    def drop(self, path: Path) -> None:
        entry = self._entries.pop(path, None)
        self._size -= entry.size if entry else 0

    def paths(self) -> tuple[Path, ...]:
        return tuple(self._entries)


def _identity(path: Path) -> tuple[int, int]:
    """Return inode number and size of a file, which change when another file replaces it."""
    status = path.stat()
    return status.st_ino, status.st_size


def default_memory(processes: int = 1) -> int:
    """Return the bytes that each of some processes may keep open: together a quarter of the machine's memory."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # the system does not publish its memory
        memory = 8 * 2**30
    return memory // 4 // processes
