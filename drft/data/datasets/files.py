"""Images in folders: found by the names that label tables use, and never outside the folder."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from drft.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
"""Image files that are recognised, in any case."""

_DEEPEST = 6


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders in a fixed order, hidden ones left out; links are followed."""
    for place, subfolders, names in os.walk(folder, followlinks=True):
        depth = len(Path(place).relative_to(folder).parts)
        subfolders[:] = sorted(name for name in subfolders if not _hidden(name)) if depth < _DEEPEST else []
        yield from (Path(place, name) for name in sorted(names) if not _hidden(name))


def stem_of(name: str) -> str:
    """Return an image name without its suffix, if it has one that is recognised."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in SUFFIXES else name


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """The images below one folder, looked up by name.

    The names of a table are only compared with a list of the files there are: no path is ever made of them.
    """

    path: Path
    files: Sequence[Path]
    _by_path: Mapping[str, Sequence[Path]]
    """Files by their whole path below the folder, with and without suffix."""
    _by_tail: Mapping[str, Sequence[Path]]
    """Files by the end of that path: name, folder and name, and so on."""

    @classmethod
    def of(cls, path: Path) -> "ImageFiles":
        """List the images below ``path``."""
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
            DataError: when the name leads out of the folder, or when no file or several files match.
        """
        if leads_out(name):
            raise DataError(f"image name {name!r} leads out of {self.path}: use names of files in that folder")
        tidy = PurePosixPath(name.replace("\\", "/")).as_posix()
        candidates = (index.get(key) for index in (self._by_path, self._by_tail) for key in (tidy, stem_of(tidy)))
        found = next(filter(None, candidates), ())
        if not found:
            raise DataError(f"no image {name!r} in {self.path}: add the file or remove the line")
        if len(found) > 1:
            places = " and ".join(str(file.relative_to(self.path)) for file in found[:2])
            raise DataError(f"image {name!r} is ambiguous, it may be {places}: write the one meant in the table")
        return found[0]

    def unlisted(self, used: set[Path]) -> int:
        """Return how many images are here beside the used ones."""
        return sum(file not in used for file in self.files)


def leads_out(name: str) -> bool:
    """Return whether a name is an absolute path or climbs to a parent folder, in the manner of any system."""
    windows = PureWindowsPath(name)
    return ".." in windows.parts or bool(windows.drive or windows.root) or name.startswith("~")


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))
