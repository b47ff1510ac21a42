"""The sizes of what the cache folder holds, and its deletion, also while others use it."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from drft.errors import DataError
from drft.feature_cache.index import (
    ABANDONED,
    activations_folder,
    group_files,
    group_folders,
    read_group,
    remove_group,
    stored_files,
)

_IMAGE_FOLDERS = ("synthetic", "unpacked")
"""Folders of images that this program rendered or unpacked."""

_REMOVED_PREFIX = ".clearing-"
"""Prefix of the name of a folder that is being removed."""


@dataclass(frozen=True, slots=True)
class FileTotals:
    """Totals of some files."""

    files: int = 0
    size: int = 0
    """In bytes."""
    last_used: float | None = None
    """Time of the last use or write of any of them, in seconds since 1970; None without files."""


@dataclass(frozen=True, slots=True)
class GroupUsage:
    """A cache group: activations that were computed in the same way."""

    description: Mapping[str, str | int | float]
    """Backbone, depth, image size ..."""
    totals: FileTotals


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """What a cache folder holds."""

    decoded: FileTotals
    """Decoded images."""
    rendered: FileTotals
    """Images that were rendered or unpacked from an archive."""
    groups: tuple[GroupUsage, ...]
    activations: FileTotals
    """All cache groups together, with drafts."""


def usage(cache_dir: Path) -> CacheUsage:
    """Return what a cache folder holds; a folder that does not exist holds nothing."""
    folder = activations_folder(cache_dir)
    groups = []
    for path in group_folders(folder):
        group = read_group(path)
        files = group_files(path, group.seconds_per_byte)
        groups.append(GroupUsage(group.description, _totals(file.path for file in files if not file.is_draft)))
    return CacheUsage(
        decoded=_totals(_decoded_images(cache_dir)),
        rendered=_totals(path for name in _IMAGE_FOLDERS for path in _files_below(cache_dir / name)),
        groups=tuple(used for used in groups if used.totals.files),
        activations=_totals(file.path for file in stored_files(folder)),
    )


def clear(cache_dir: Path, *, images: bool = False) -> FileTotals:
    """Delete the activations of a cache folder. A running study computes those that it needs again.

    Args:
        cache_dir: the cache folder.
        images: whether to delete the decoded and the rendered images too.

    Returns:
        The totals of the deleted files.

    Raises:
        DataError: naming the first file that cannot be deleted; all others are deleted.
    """
    folder = activations_folder(cache_dir)
    faults: list[OSError] = []
    paths = [file.path for file in stored_files(folder)]
    if images:
        paths += _decoded_images(cache_dir)
        paths += [path for name in _IMAGE_FOLDERS for path in (cache_dir / name).glob("*") if path.is_dir()]
    deleted = [_delete(path, faults) for path in paths if not _is_being_written(path)]
    for group in group_folders(folder):
        if not any(group_files(group, 0.0)):
            with contextlib.suppress(OSError):  # a worker has written an entry meanwhile
                remove_group(group)
    if faults:
        raise DataError(f"{faults[0].filename}: cannot be deleted ({faults[0].strerror}); have its owner do it")
    return _sum(deleted)


def _decoded_images(cache_dir: Path) -> list[Path]:
    return sorted((cache_dir / "images").glob("*.npy"))


def _is_being_written(path: Path) -> bool:
    """Return whether a file or folder is a draft that another process may still be writing."""
    if not path.name.startswith(".") or path.name.startswith(_REMOVED_PREFIX):
        return False
    totals = _totals([path])
    return totals.last_used is None or time.time() - totals.last_used < ABANDONED


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _totals(paths: Iterable[Path]) -> FileTotals:
    files = []
    for path in paths:
        with contextlib.suppress(OSError):  # deleted meanwhile
            status = path.stat()
            files.append(FileTotals(1, status.st_size, status.st_mtime))
    return _sum(files)


def _sum(totals: Iterable[FileTotals]) -> FileTotals:
    parts = list(totals)
    last_used = max((part.last_used for part in parts if part.last_used is not None), default=None)
    return FileTotals(sum(part.files for part in parts), sum(part.size for part in parts), last_used)


def _delete(path: Path, faults: list[OSError]) -> FileTotals:
    """Delete a file or a folder. A folder is renamed first, so that other processes find all of it or nothing."""
    totals = _totals(_files_below(path) if path.is_dir() else [path])
    try:
        if path.is_dir():
            removed = Path(tempfile.mkdtemp(prefix=_REMOVED_PREFIX, dir=path.parent))
            path.rename(removed / path.name)
            shutil.rmtree(removed)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        faults.append(error)
        return FileTotals()
    return totals
