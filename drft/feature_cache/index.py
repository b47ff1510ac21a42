"""The folder of activations, seen as files: what is there, how large, how dear, and when it was last used.

::

    activations/<shelf>/about.json            what the shelf holds, and what a byte of it costs to compute again
    activations/<shelf>/<name>.safetensors    one entry; its modification time is the time of its last use
    activations/<shelf>/.<name>.*             a draft: an entry that is being written, or whose writer was killed
    activations/.locks/                       lock files, and the size of everything as the writers reckon it

Nothing here imports torch, so that the command line can look without waiting for it.
"""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drft.files.atomic import whole_file
from drft.files.sizes import disk_space

SUFFIX = ".safetensors"
LOCKS = ".locks"

ABANDONED = 3600.0
"""Seconds after which a draft that nobody wrote to is taken for one of a killed process."""

_MOST = 20 * 10**9
"""Largest default budget in bytes."""

_ABOUT = "about.json"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file on a shelf."""

    path: Path
    size: int
    """In bytes."""
    used: float
    """When it was last used, in seconds since 1970."""
    worth: float
    """Seconds of computing that one byte of it saves."""

    @property
    def is_draft(self) -> bool:
        """Whether it is not, or not yet, an entry."""
        return self.path.name.startswith(".")

    def is_abandoned(self, now: float) -> bool:
        """Whether its writer was killed."""
        return self.is_draft and now - self.used > ABANDONED


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """What ``about.json`` says of a shelf."""

    about: Mapping[str, str | int | float]
    """For people: backbone, depth, image size ..."""
    seconds_per_byte: float
    """What a byte costs to compute again."""


UNKNOWN = GroupInfo({}, 0.0)
"""What is said of a shelf whose ``about.json`` is missing or damaged: it goes first."""


def activations_folder(cache_dir: Path) -> Path:
    """Return where a cache keeps activations."""
    return cache_dir / "activations"


def default_budget(folder: Path) -> int:
    """Return the bytes that activations may take: a quarter of what is free or theirs already, at most 20 GB.

    Raises:
        OSError: when the disk cannot be asked.
    """
    _, free = disk_space(folder)
    return min(_MOST, (free + sum(file.size for file in stored_files(folder))) // 4)


def stored_files(folder: Path) -> list[StoredFile]:
    """Return every entry and draft; files that vanish meanwhile are left out."""
    return [file for group in group_folders(folder) for file in group_files(group, read_about(group).seconds_per_byte)]


def group_folders(folder: Path) -> list[Path]:
    """Return the folders of all shelves, sorted."""
    return sorted(Path(entry.path) for entry in _listing(folder) if entry.is_dir() and not entry.name.startswith("."))


def group_files(group: Path, worth: float) -> Iterator[StoredFile]:
    """Yield the entries and drafts of one shelf."""
    for entry in _listing(group):
        if entry.name == _ABOUT:
            continue
        try:
            seen = entry.stat(follow_symlinks=False)
        except OSError:  # gone since it was listed
            continue
        yield StoredFile(Path(entry.path), seen.st_size, seen.st_mtime, worth)


def read_about(group: Path) -> GroupInfo:
    """Return what a shelf says of itself, ``UNKNOWN`` if it says nothing that can be read."""
    try:
        said: Any = json.loads((group / _ABOUT).read_text(encoding="utf-8"))
        read = GroupInfo(dict(said["about"]), float(said["seconds_per_byte"]))
    except (OSError, ValueError, TypeError, KeyError):
        return UNKNOWN
    return read if math.isfinite(read.seconds_per_byte) else UNKNOWN


def settle_about(group: Path, about: GroupInfo) -> GroupInfo:
    """Let a shelf say what it holds, unless it does, and return what it says.

    Workers measure costs a little differently; the first one's figure holds for the shelf, so that entries of one
    shelf never drive each other out for it.

    Raises:
        OSError: when it cannot be written.
    """
    known = read_about(group)
    if known is not UNKNOWN:
        return known
    said = {"about": dict(about.about), "seconds_per_byte": about.seconds_per_byte}
    with whole_file(group / _ABOUT, durable=False) as draft:
        draft.write_text(json.dumps(said, indent=2), encoding="utf-8")
    return about


def remove_group(group: Path) -> None:
    """Remove a shelf that holds no entry any more.

    Raises:
        OSError: when it is not empty or cannot be removed.
    """
    (group / _ABOUT).unlink(missing_ok=True)
    group.rmdir()


def touch(path: Path) -> None:
    """Note that a file is used now.

    Raises:
        OSError: when it is gone or belongs to somebody else.
    """
    now = time.time()
    os.utime(path, (now, now))


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # not made yet, or removed by somebody
        return []
