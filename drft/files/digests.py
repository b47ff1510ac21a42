"""SHA-256 digests of files, stored so that unchanged files are not read again.

Each data source has one small JSON file in the cache folder. It only saves time: a damaged file is replaced, and a
file that cannot be written is skipped.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from drft.files.atomic import default_cache_dir, whole_file

MAX_SOURCES = 64
"""Sources whose digests are stored; when there are more, those unused for longest are deleted."""

_VERSION = 1
"""Raise it when files are checked differently: all files are then checked again."""

_SETTLED_NS = 2_000_000_000
"""The digest of a file that changed later than this before now is not stored: the file may change again without
another time stamp, since some file systems count whole seconds."""

Stamp = tuple[int, int, int, int]
"""Size, time of the last change of content and of attributes in ns, inode number."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        OSError: when the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Digests:
    """The stored digests of the files of one source.

    Args:
        files: all files of the source; their paths identify the source.
        cache_dir: where digests are stored; by default the user's cache folder.
    """

    def __init__(self, files: Sequence[Path], cache_dir: Path | None = None) -> None:
        name = hashlib.sha256("\0".join(sorted(map(os.path.abspath, files))).encode("utf-8", "surrogateescape"))
        self._path = (cache_dir or default_cache_dir()) / "digests" / f"{name.hexdigest()[:32]}.json"
        self._stamps = {file: stamp for file in files if (stamp := _stamp(file)) is not None}
        self._now = time.time_ns()
        stored = _load(self._path)
        self._known = {
            file: str(entry[-1])
            for file, stamp in self._stamps.items()
            if (entry := stored.get(str(file), ()))[:-1] == stamp
        }

    def get(self, file: Path) -> str | None:
        """Return the stored digest of a file; None when there is none or the file has changed."""
        return self._known.get(file)

    def store(self, digests: Mapping[Path, str]) -> None:
        """Add the digests of files that were read after this object was created."""
        if not digests:
            return
        newest = self._now - _SETTLED_NS
        settled = {
            file: digest
            for file, digest in digests.items()
            if file in self._stamps and max(self._stamps[file][1:3]) < newest
        }
        entries = {str(file): (*self._stamps[file], digest) for file, digest in (self._known | settled).items()}
        text = json.dumps({"version": _VERSION, "files": entries})
        with contextlib.suppress(OSError), whole_file(self._path) as draft:
            draft.write_text(f"{_checksum(text)}\n{text}", encoding="ascii")
        with contextlib.suppress(OSError):  # another process may delete the same files
            paths = sorted(self._path.parent.glob("[0-9a-f]*.json"), key=lambda path: path.stat().st_mtime)
            for path in paths[:-MAX_SOURCES]:
                path.unlink()


def _stamp(file: Path) -> Stamp | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _load(path: Path) -> dict[str, tuple[int | str, ...]]:
    """Return the stored entries; none when the file is missing, damaged or of another version."""
    try:
        checksum, _, text = path.read_text(encoding="ascii").partition("\n")
    except (OSError, ValueError):
        return {}
    if checksum != _checksum(text):
        return {}
    stored = json.loads(text)
    return {file: tuple(entry) for file, entry in stored["files"].items()} if stored["version"] == _VERSION else {}


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
