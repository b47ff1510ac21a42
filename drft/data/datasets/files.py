"""Find the images that label tables name, always inside one folder."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from drft.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
"""Suffixes of image files, in lower case; upper case is recognised too."""

_MAX_DEPTH = 6
"""Levels of subfolders that are searched; the limit ends circles of links."""


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders in a fixed order, without hidden ones; links are followed."""
    for parent, subfolders, names in os.walk(folder, followlinks=True):
        depth = len(Path(parent).relative_to(folder).parts)
        # os.walk continues with the subfolders that are left in this list.
        subfolders[:] = sorted(filter(_is_visible, subfolders)) if depth < _MAX_DEPTH else []
        yield from (Path(parent, name) for name in sorted(filter(_is_visible, names)))


def stem_of(name: str) -> str:
    """Return an image name without its suffix, if it has one of ``SUFFIXES``."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in SUFFIXES else name


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """The images below one folder, by name.

    Names from a table are only compared with the names of existing files; no path is made from them.
    """

    path: Path
    files: Sequence[Path]
    _by_path: Mapping[str, Sequence[Path]]
    """Files by their full path below the folder, with and without suffix."""
    _by_tail: Mapping[str, Sequence[Path]]
    """Files by the end of that path: name, folder and name, and so on."""

    @classmethod
    def of(cls, path: Path) -> "ImageFiles":
        """Index the images below ``path``."""
        files = [file for file in files_below(path) if file.suffix.lower() in SUFFIXES]
        by_path: dict[str, list[Path]] = defaultdict(list)
        by_tail: dict[str, list[Path]] = defaultdict(list)
        for file in files:
            parts = file.relative_to(path).parts
            for start in range(len(parts)):
                tail = "/".join(parts[start:])
                for name in (tail, stem_of(tail)):
                    (by_tail if start else by_path)[name].append(file)
        return cls(path, files, by_path, by_tail)

    def find(self, name: str) -> Path:
        """Return the image that a table calls ``name``, with or without folders and suffix.

        Raises:
            DataError: when the name leads out of the folder, or no file or several files match.
        """
        if leads_out(name):
            raise DataError(f"image name {name!r} leads out of {self.path}: use names of files in that folder")
        normalized = PurePosixPath(name.replace("\\", "/")).as_posix()
        keys = (normalized, stem_of(normalized))
        candidates = (index.get(key) for index in (self._by_path, self._by_tail) for key in keys)
        matches = next(filter(None, candidates), ())
        if not matches:
            raise DataError(f"no image {name!r} in {self.path}: add the file or remove the line")
        if len(matches) > 1:
            paths = " and ".join(str(file.relative_to(self.path)) for file in matches[:2])
            raise DataError(f"image {name!r} is ambiguous, it may be {paths}: write the one meant in the table")
        return matches[0]


def leads_out(name: str) -> bool:
    """Return whether a name is an absolute path or contains a parent folder, on any operating system."""
    windows = PureWindowsPath(name)
    return ".." in windows.parts or bool(windows.drive or windows.root) or name.startswith("~")


def _is_visible(name: str) -> bool:
    return not name.startswith((".", "__MACOSX"))
