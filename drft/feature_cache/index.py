"""The files of the cache folder: their sizes, when they were last used, and the computing time that they save.

::

    activations/<group>/about.json            group info: what the group holds, and seconds saved per byte
    activations/<group>/<name>.safetensors    one entry; its modification time is the time of its last use
    activations/<group>/.<name>.*             a draft: an entry that is being written, or whose writer was killed
    activations/.locks/                       lock files, and the total size of all files as the writers count it

This module does not import torch, so that the command line can read the folder without waiting for it.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drft.files.atomic import whole_file
from drft.files.sizes import disk_space

SUFFIX = ".safetensors"
LOCKS = ".locks"

ABANDONED = 3600.0
"""Seconds without a write after which a draft is taken for one of a killed process."""

_MAX_DEFAULT_BUDGET = 20 * 10**9
"""In bytes."""

_INFO_FILE = "about.json"


@dataclass(frozen=True, slots=True)
class CacheGroup:
    """Entries that were computed in the same way."""

    key: str
    """Hex digest of everything that the values depend on besides the entry's name: weights, boundary, precision ..."""
    description: Mapping[str, str | int | float]
    """Backbone, depth, image size ...; only for display."""
    seconds_per_byte: float
    """Computing time that one stored byte saves. Entries with the lowest value are evicted first."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An entry or a draft of a cache group."""

    path: Path
    size: int
    """In bytes."""
    last_used: float
    """In seconds since 1970."""
    seconds_per_byte: float
    """Computing time that one byte of it saves."""

    @property
    def is_draft(self) -> bool:
        """Whether the file is no complete entry."""
        return self.path.name.startswith(".")

    def is_abandoned(self, now: float) -> bool:
        """Return whether the file is a draft whose writer was killed."""
        return self.is_draft and now - self.last_used > ABANDONED


def activations_folder(cache_dir: Path) -> Path:
    """Return the folder of activations in a cache folder."""
    return cache_dir / "activations"


def default_budget(folder: Path) -> int:
    """Return the default disk budget in bytes: a quarter of free space and stored files together, at most 20 GB.

    Raises:
        OSError: when the free space cannot be determined.
    """
    _, free = disk_space(folder)
    return min(_MAX_DEFAULT_BUDGET, (free + sum(file.size for file in stored_files(folder))) // 4)


def stored_files(folder: Path) -> list[StoredFile]:
    """Return all entries and drafts. Files that are deleted meanwhile are left out."""
    return [file for group in group_folders(folder) for file in group_files(group, read_group(group).seconds_per_byte)]


def group_folders(folder: Path) -> list[Path]:
    """Return the folders of all cache groups, sorted."""
    return sorted(Path(entry.path) for entry in _listing(folder) if entry.is_dir() and not entry.name.startswith("."))


def group_files(folder: Path, seconds_per_byte: float) -> Iterator[StoredFile]:
    """Yield the entries and drafts of one cache group."""
    for entry in _listing(folder):
        if entry.name == _INFO_FILE:
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:  # deleted since it was listed
            continue
        yield StoredFile(Path(entry.path), status.st_size, status.st_mtime, seconds_per_byte)


def read_group(folder: Path) -> CacheGroup:
    """Return the cache group of a folder; one that saves 0 seconds, to be evicted first, if its info cannot be read."""
    return _read_info(folder) or CacheGroup(folder.name, {}, 0.0)


def get_or_write_group(folder: Path, group: CacheGroup) -> CacheGroup:
    """Return the cache group of a folder; write the info of ``group`` first if the folder has none.

    Workers measure slightly different costs. All of them use the figure of the first one, so that entries of one group
    never evict each other for a difference in measurement.

    Raises:
        OSError: when it cannot be written.
    """
    stored = _read_info(folder)
    if stored is not None:
        return stored
    info = {"about": dict(group.description), "seconds_per_byte": group.seconds_per_byte}
    with whole_file(folder / _INFO_FILE, durable=False) as draft:
        draft.write_text(json.dumps(info, indent=2), encoding="utf-8")
    return group


def _read_info(folder: Path) -> CacheGroup | None:
    try:
        info: Any = json.loads((folder / _INFO_FILE).read_text(encoding="utf-8"))
        group = CacheGroup(folder.name, dict(info["about"]), float(info["seconds_per_byte"]))
    except (OSError, ValueError, TypeError, KeyError):  # missing or damaged
        return None
    return group if math.isfinite(group.seconds_per_byte) else None


def remove_group(folder: Path) -> None:
    """Remove the folder of a cache group that has no entries.

    Raises:
        OSError: when it is not empty or cannot be removed.
    """
    (folder / _INFO_FILE).unlink(missing_ok=True)
    folder.rmdir()


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # the folder does not exist yet, or was removed
        return []
