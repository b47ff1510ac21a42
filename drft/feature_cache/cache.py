"""A cache of activations on disk, used by many workers and studies at once.

Activations at a boundary are pure functions of weights, network, image and view. A *shelf* is everything that is
the same for a whole study (weights, boundary, precision ...); its entries are, for example, the views of one epoch.
Files are mapped, so all workers share one copy in the page cache. Nothing that goes wrong with the disk is an error
here: what cannot be stored is kept in memory or computed again.
"""

import contextlib
import logging
import os
import re
import time
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
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
from drft.feature_cache.index import LOCKS, SUFFIX, GroupInfo, settle_about, touch
from drft.files.atomic import whole_file
from drft.files.locks import holding

_log = logging.getLogger(__name__)

_LOCK_FILES = 64
"""Entries share this many lock files, so that lock files do not pile up."""

_PATIENCE = 600.0
"""Seconds to wait for a worker that computes the same entry; one that takes longer was stopped."""

_TOUCH_AGAIN = 3600.0
"""Seconds after which an entry that stayed open is marked as used again."""

_HELD_SHARE = 4
"""The part of the memory bound (1 / this) for entries that are in no file: the system cannot drop their pages."""


@dataclass(frozen=True, slots=True)
class CacheGroup:
    """One kind of entries: all that were computed the same way."""

    key: str
    """Hex digest of everything that the values depend on but the name of the entry: weights, boundary, precision ..."""
    about: Mapping[str, str | int | float]
    """For people: backbone, depth, image size ..."""
    seconds_per_byte: float
    """Seconds of computing that one stored byte saves; what is worth least is evicted first."""


class ActivationCache:
    """Entries by shelf and name, in files within a budget, the recent ones kept open.

    One thread of a process uses it at a time.

    Args:
        folder: where the files are; made when the first one is written.
        budget: the bytes that all files of all users may have together; 0 stores nothing.
        memory: the bytes of entries this process keeps open; ``default_memory()`` by default. A quarter
            of them may be of entries that are in no file.
    """

    def __init__(self, folder: Path, budget: int, memory: int | None = None) -> None:
        self._folder = folder
        self._budget = budget
        self._room = DiskBudget(folder, budget, before_evicting=self._let_go_of_deleted)
        memory = default_memory() if memory is None else memory
        self._mapped = _LRU(memory)
        self._held = _LRU(memory // _HELD_SHARE)
        self._verified: dict[Path, tuple[int, int]] = {}
        self._touched: dict[Path, float] = {}
        self._warned: set[str] = set()

    def get(self, group: CacheGroup, name: str) -> CacheEntry | None:
        """Return an entry, or None when it must be computed.

        A damaged file is deleted, and the log says so.

        Raises:
            ValueError: when shelf or name cannot name a file.
        """
        path = self._path(group, name)
        entry = self._mapped.get(path) or self._held.get(path) or self._load(path)
        if entry is not None and entry.stored:
            self._touch(path)
        return entry

    def put(self, group: CacheGroup, name: str, activations: Activations) -> CacheEntry:
        """Store activations if there is room for them and they are worth it; else keep them in memory for a while.

        The tensors belong to the cache from now on: do not write to them.

        Returns:
            An entry that can be used in either case.

        Raises:
            ValueError: when shelf or name cannot name a file.
            TypeError: when a tensor is neither of a float type nor of bytes.
        """
        path = self._path(group, name)
        held = CacheEntry.in_memory(activations)
        stored = self._store(path, group, held)
        if stored is None:
            self._held.add(path, held)
        else:
            self._held.drop(path)
        return stored or held

    def lock(self, group: CacheGroup, name: str) -> AbstractContextManager[None]:
        """Return a context in which no other worker computes this entry. Having entered it, look again.

        Entries may share a lock: do not hold two. Where the file system has no locks, it holds nobody back.
        """
        number = zlib.crc32(f"{group.key}/{name}".encode()) % _LOCK_FILES
        return holding(self._folder / LOCKS / f"{number:02d}", _PATIENCE)

    def _path(self, group: CacheGroup, name: str) -> Path:
        for part in (group.key, name):
            if not re.fullmatch(r"\w[\w.-]{0,199}", part, re.ASCII):
                raise ValueError(f"{part!r} cannot name a file: use up to 200 letters, digits, '.', '_' and '-'")
        return self._folder / group.key / f"{name}{SUFFIX}"

    def _store(self, path: Path, group: CacheGroup, entry: CacheEntry) -> CacheEntry | None:
        if entry_file_size(entry) > self._budget:
            return None
        try:
            worth = settle_about(path.parent, GroupInfo(group.about, group.seconds_per_byte)).seconds_per_byte
            self._write(path, entry, worth)
        except _NotAdmittedError:
            return None
        except OSError as error:
            reason = error.strerror or error
            self._warn_once("write", f"{self._folder}: activations cannot be stored ({reason}), they stay in memory")
            return None
        return self._load(path)

    def _write(self, path: Path, entry: CacheEntry, worth: float) -> None:
        with whole_file(path, durable=False) as draft:
            if not self._room.reserve(draft, entry_file_size(entry), worth):
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
        except (OSError, RuntimeError) as error:  # torch says it with a RuntimeError when a file cannot be mapped
            self._warn_once("read", f"{path}: cannot be read ({error}), activations are computed again")
            return None
        self._verified[path] = identity
        self._mapped.add(path, entry)
        return entry

    def _touch(self, path: Path) -> None:
        now = time.monotonic()
        if now - self._touched.get(path, -_TOUCH_AGAIN) >= _TOUCH_AGAIN:
            self._touched[path] = now
            with contextlib.suppress(OSError):
                touch(path)

    def _let_go_of_deleted(self) -> None:
        for path in self._mapped.paths():
            if not path.exists():
                self._mapped.drop(path)

    def _warn_once(self, subject: str, message: str) -> None:
        if subject not in self._warned:
            self._warned.add(subject)
            _log.warning("%s", message)


class _NotAdmittedError(Exception):
    """An entry is worth less than what it would drive out."""


class _LRU:
    """The entries used last, up to a number of bytes."""

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
    """Return what changes when another file takes the place of one: its number and its size."""
    seen = path.stat()
    return seen.st_ino, seen.st_size


def default_memory(processes: int = 1) -> int:
    """Return the bytes each of some processes may keep open: together a quarter of the machine's memory."""
    return _physical_memory() // 4 // processes


def _physical_memory() -> int:
    """Return the bytes of memory this machine has; 8 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 * 2**30
