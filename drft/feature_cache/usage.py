"""What the cache folder holds, for people, and how to empty it while others use it."""

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
    read_about,
    remove_group,
    stored_files,
)

_MADE = ("synthetic", "unpacked")
"""Folders of images that this program made."""

_SCRATCH = ".clearing-"
"""Begins the name of a folder that is being removed."""


@dataclass(frozen=True, slots=True)
class FileTotals:
    """Some files together."""

    files: int = 0
    size: int = 0
    """In bytes."""
    used: float | None = None
    """When one of them was last used or written, in seconds since 1970; None if there is none."""


@dataclass(frozen=True, slots=True)
class GroupUsage:
    """Activations that were computed the same way."""

    about: Mapping[str, str | int | float]
    volume: FileTotals


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """What a cache folder holds."""

    decoded: FileTotals
    rendered: FileTotals
    """Images that were rendered, or unpacked from an archive."""
    groups: tuple[GroupUsage, ...]
    activations: FileTotals
    """All shelves together, with drafts."""


def usage(cache_dir: Path) -> CacheUsage:
    """Look through a cache folder; one that does not exist holds nothing."""
    folder = activations_folder(cache_dir)
    return CacheUsage(
        decoded=_volume(_images(cache_dir)),
        rendered=_volume(path for name in _MADE for path in _files_below(cache_dir / name)),
        groups=tuple(group for group in map(_group_usage, group_folders(folder)) if group.volume.files),
        activations=_volume(file.path for file in stored_files(folder)),
    )


def clear(cache_dir: Path, *, images: bool = False) -> FileTotals:
    """Delete the activations of a cache folder; what a study uses meanwhile it computes again.

    Args:
        cache_dir: the cache folder.
        images: whether to delete the decoded and the rendered images too.

    Returns:
        What was deleted.

    Raises:
        DataError: naming the first file that cannot be deleted; the others are.
    """
    folder = activations_folder(cache_dir)
    faults: list[OSError] = []
    targets = [file.path for file in stored_files(folder)]
    targets += _images(cache_dir) if images else []
    gone = [_delete(path, faults) for path in targets if not _is_being_written(path)]
    for group in group_folders(folder):
        if not any(group_files(group, 0.0)):
            with contextlib.suppress(OSError):  # a worker has just put something on it
                remove_group(group)
    if images:
        gone += [_delete_folder(dataset, faults) for dataset in _dataset_folders(cache_dir)]
    if faults:
        raise DataError(f"{faults[0].filename}: cannot be deleted ({faults[0].strerror}); have its owner do it")
    return _sum(gone)


def _group_usage(group: Path) -> GroupUsage:
    about = read_about(group)
    return GroupUsage(
        about.about, _volume(f.path for f in group_files(group, about.seconds_per_byte) if not f.is_draft)
    )


def _images(cache_dir: Path) -> list[Path]:
    return sorted((cache_dir / "images").glob("*.npy"))


def _dataset_folders(cache_dir: Path) -> list[Path]:
    """Return the folders of images that were made, and those that a killed process left half made or removed."""
    folders = [path for name in _MADE for path in (cache_dir / name).glob("*") if path.is_dir()]
    return [path for path in folders if not _is_being_written(path)]


def _is_being_written(path: Path) -> bool:
    """Return whether a file or folder is a draft that somebody may still be working on."""
    if not path.name.startswith(".") or path.name.startswith(_SCRATCH):
        return False
    volume = _volume([path])
    return volume.used is None or time.time() - volume.used < ABANDONED


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _volume(paths: Iterable[Path]) -> FileTotals:
    found = []
    for path in paths:
        with contextlib.suppress(OSError):  # deleted meanwhile
            seen = path.stat()
            found.append(FileTotals(1, seen.st_size, seen.st_mtime))
    return _sum(found)


def _sum(volumes: Iterable[FileTotals]) -> FileTotals:
    everything = list(volumes)
    used = max((volume.used for volume in everything if volume.used is not None), default=None)
    return FileTotals(sum(v.files for v in everything), sum(v.size for v in everything), used)


def _delete(path: Path, faults: list[OSError]) -> FileTotals:
    volume = _volume([path])
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        faults.append(error)
        return FileTotals()
    return volume


def _delete_folder(folder: Path, faults: list[OSError]) -> FileTotals:
    """Rename, then remove: whoever looks for the folder finds all of it or nothing."""
    volume = _volume(_files_below(folder))
    try:
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=folder.parent))
        folder.rename(scratch / folder.name)
        shutil.rmtree(scratch)
    except OSError as error:
        faults.append(error)
        return FileTotals()
    return volume
