"""Find the images that label tables name, always inside one folder."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath, PureWindowsPath

from drft.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
"""Suffixes of image files, in lower case; upper case is recognised too."""

_MAX_DEPTH = 6
"""Levels of subfolders that are searched."""


def files_below(folder: Path, *, skip_unreadable: bool = False) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders in a fixed order, without hidden ones.

    Links to files are followed. Links to folders are not: what they lead to inside the folder is found there, and what
    is elsewhere was not named. Of pipes, devices and broken links only those with the name of an image are yielded,
    for opening them to refuse them by name.

    Raises:
        DataError: when a folder cannot be read, unless ``skip_unreadable``.
    """
    for files, _ in _folders_below(folder, skip_unreadable=skip_unreadable):
        yield from files


def links_out_of(folder: Path) -> list[Path]:
    """Return the links below a folder that lead to folders outside it, which are not followed."""
    whole = folder.resolve()
    links = (link for _, links in _folders_below(folder) for link in links)
    return [link for link in links if not link.resolve().is_relative_to(whole)]


def _folders_below(folder: Path, *, skip_unreadable: bool = False) -> Iterator[tuple[list[Path], list[Path]]]:
    """Yield the files and the links to folders in each folder."""
    for parent, subfolders, names in os.walk(folder, onerror=None if skip_unreadable else _refuse, followlinks=False):
        depth = len(Path(parent).relative_to(folder).parts)
        check_names(Path(parent), [*subfolders, *names])
        visible = sorted(filter(_is_visible, subfolders))
        # os.walk continues with the subfolders that are left in this list.
        subfolders[:] = visible if depth < _MAX_DEPTH else []
        files = [Path(parent, name) for name in sorted(filter(_is_visible, names))]
        links = [Path(parent, name) for name in visible if Path(parent, name).is_symlink()]
        yield [file for file in files if file.suffix.lower() in SUFFIXES or file.is_file()], links


def _refuse(error: OSError) -> None:
    raise DataError(
        f"folder {error.filename} cannot be read ({error.strerror}): correct its permissions or move it away"
    ) from error


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
    _folded: Mapping[str, Sequence[Path]]
    """Files by all of these names in lower case: tables made on other systems may differ in case."""
    links: Sequence[Path] = ()
    """Links to folders elsewhere, which are not followed."""

    @classmethod
    def of(cls, path: Path) -> "ImageFiles":
        """Index the images below ``path``."""
        files = [file for file in files_below(path) if file.suffix.lower() in SUFFIXES]
        by_path: dict[str, list[Path]] = defaultdict(list)
        by_tail: dict[str, list[Path]] = defaultdict(list)
        folded: dict[str, list[Path]] = defaultdict(list)
        for file in files:
            parts = file.relative_to(path).parts
            for start in range(len(parts)):
                tail = "/".join(parts[start:])
                for name in map(_comparable, (tail, stem_of(tail))):
                    (by_tail if start else by_path)[name].append(file)
                    folded[name.casefold()].append(file)
        return cls(path, files, by_path, by_tail, folded, links_out_of(path))

    def find(self, name: str) -> Path:
        """Return the image that a table calls ``name``, with or without folders and suffix.

        The folders may begin above the folder of the images: ``images/a.png`` names ``a.png`` in the folder ``images``.

        Raises:
            DataError: when the name leads out of the folder, or no file or several files match.
        """
        if leads_out(name):
            raise DataError(f"image name {name!r} leads out of {self.path}: use names of files in that folder")
        normalized = _comparable(PurePosixPath(name.replace("\\", "/")).as_posix())
        matches = self._matching(normalized) or self._matching(self._inside(normalized))
        if not matches:
            hint = f" (the link {self.links[0]} leads elsewhere and is not followed)" if self.links else ""
            raise DataError(f"no image {name!r} in {self.path}{hint}: add the file or remove the line")
        if len(matches) > 1:
            paths = " and ".join(str(file.relative_to(self.path)) for file in matches[:2])
            raise DataError(f"image {name!r} is ambiguous, it may be {paths}: write the one meant in the table")
        return matches[0]

    def _matching(self, name: str) -> Sequence[Path]:
        keys = (name, stem_of(name))
        exact = (index.get(key) for index in (self._by_path, self._by_tail) for key in keys)
        folded = (self._folded.get(key.casefold()) for key in keys)
        return next(filter(None, chain(exact, folded)), ())

    def _inside(self, name: str) -> str:
        """Return a name without folders in which this folder is; empty where it begins with other folders."""
        above = [_comparable(part) for part in self.path.absolute().parts]
        ends = ("/".join([*above[start:], ""]) for start in range(1, len(above)))
        return next((name.removeprefix(end) for end in ends if name.startswith(end)), "")


def leads_out(name: str) -> bool:
    """Return whether a name is an absolute path or contains a parent folder, on any operating system."""
    windows = PureWindowsPath(name)
    return ".." in windows.parts or bool(windows.drive or windows.root) or name.startswith("~")


_OF_SYSTEMS = (".", "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""How names begin that file managers and storage devices add to a folder."""


def _is_visible(name: str) -> bool:
    return not name.startswith(_OF_SYSTEMS)


def check_names(folder: Path, names: Sequence[str]) -> None:
    """Refuse names that are not UTF-8: no table can name them, and no result file can hold them.

    Raises:
        DataError: when there are such names.
    """
    wrong = sorted(name for name in names if any("\ud800" <= letter <= "\udfff" for letter in name))
    if wrong:
        where, shown = (
            name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            for name in (str(folder), wrong[0])
        )
        raise DataError(f"{where}: {len(wrong)} names are not UTF-8, such as {shown}: rename them")


def _comparable(name: str) -> str:
    """Return a name in composed Unicode: some systems store letters and their accents apart."""
    return unicodedata.normalize("NFC", name)
