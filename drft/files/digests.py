"""Digests of files that were read before: a file that has not changed since need not be read again.

One small file for each data source, in the cache folder. It only saves time: a damaged one is written anew, one that
cannot be written is done without.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from drft.files.atomic import default_cache_dir, whole_file

SOURCES = 64
"""Sources whose digests are kept; the ones longest unused go first."""

_VERSION = 1
"""Raised when files are checked in another way, so that all are checked again."""

_SETTLED_NS = 2_000_000_000
"""A file changed so shortly before it was read may change again without another time stamp."""

Stamp = tuple[int, int, int, int]
"""Size, time of the last change of content and of attributes in ns, inode number."""


class Digests:
    """The known digests of the files of one source.

    Args:
        files: all files of the source, by which it is recognised.
        cache_dir: where digests are kept; by default the user's cache folder.
    """

    def __init__(self, files: Sequence[Path], cache_dir: Path | None = None) -> None:
        name = hashlib.sha256("\0".join(sorted(map(os.path.abspath, files))).encode("utf-8", "surrogateescape"))
        self._path = (cache_dir or default_cache_dir()) / "digests" / f"{name.hexdigest()[:32]}.json"
        self._stamps = {file: stamp for file in files if (stamp := _stamp(file)) is not None}
        self._now = time.time_ns()
        kept = _read(self._path)
        self._known = {
            file: str(entry[-1])
            for file, stamp in self._stamps.items()
            if (entry := kept.get(str(file), ()))[:-1] == stamp
        }

    def of(self, file: Path) -> str | None:
        """Return the digest of a file that has not changed since it was noted."""
        return self._known.get(file)

    def keep(self, found: Mapping[Path, str]) -> None:
        """Note the digests of files that were read after this object was made."""
        if not found:
            return
        settled = {file: digest for file, digest in found.items() if self._is_settled(file)}
        entries = {str(file): (*self._stamps[file], digest) for file, digest in (self._known | settled).items()}
        text = json.dumps({"version": _VERSION, "files": entries})
        with contextlib.suppress(OSError), whole_file(self._path) as draft:
            draft.write_text(f"{_checksum(text)}\n{text}", encoding="ascii")
        _drop_oldest(self._path.parent)

    def _is_settled(self, file: Path) -> bool:
        return file in self._stamps and max(self._stamps[file][1:3]) < self._now - _SETTLED_NS


def _stamp(file: Path) -> Stamp | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _read(path: Path) -> dict[str, tuple[int | str, ...]]:
    """Return what is kept, or nothing when there is no such file or it is not what was written."""
    try:
        checksum, _, text = path.read_text(encoding="ascii").partition("\n")
    except (OSError, ValueError):
        return {}
    if checksum != _checksum(text):
        return {}
    kept = json.loads(text)
    return {file: tuple(entry) for file, entry in kept["files"].items()} if kept["version"] == _VERSION else {}


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _drop_oldest(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another process may be faster
        kept = sorted(folder.glob("[0-9a-f]*.json"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-SOURCES]:
            path.unlink()
