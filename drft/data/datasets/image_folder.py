"""Images in one folder for each class, as torchvision's ``ImageFiles`` has them.

``FOLDER/CLASS/...``, or ``FOLDER/train/CLASS/...`` with ``val`` and ``test`` beside it.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from drft.data.dataset import GRADES, Origin
from drft.data.datasets.csv_table import eyes_of
from drft.data.datasets.files import ImageFiles, stem_of
from drft.data.datasets.listing import ListedImage, Listing

MOST = 10
"""Folders that are taken as classes at most: more of them will rather be patients."""

_PART = re.compile(r"\b(?:(train)(?:ing)?|(val)(?:id|idation)?|(test)(?:ing)?)\b")
_SCALE: Mapping[str, int] = {
    "no dr": 0, "nodr": 0, "no": 0, "normal": 0, "mild": 1, "moderate": 2, "severe": 3,
    "proliferative": 4, "proliferate": 4, "proliferative dr": 4, "proliferate dr": 4, "pdr": 4,
}  # fmt: skip
"""What folders of the five grades are called."""


class _ClassImage(NamedTuple):
    part: str
    """``train``, ``val`` or ``test``."""
    class_: str
    path: Path
    """Below the folder that all share."""


def list_classes(folder: Path) -> Listing | None:
    """Read the classes of the images in a folder from the folders they are in; None when it is not laid out so.

    Folders named 0 to 4, or as the grades of the international scale, are those grades; any others are classes in the
    order of their names.
    """
    files = ImageFiles.of(folder)
    if not files.files:
        return None
    top = Path(os.path.commonpath([file.parent for file in files.files]))
    images = _images([file.relative_to(top) for file in files.files])
    if images is None:
        return None
    grades, numbers = _graded({image.class_ for image in images})
    below = ImageFiles.of(top)
    lines = [_listed(image, numbers[image.class_], below) for image in images]
    return Listing(folder.name, lines, [*_notes(images, grades)], grades=grades)


def _images(paths: Sequence[Path]) -> list[_ClassImage] | None:
    """Tell part and class of each image, or return None where a folder is neither."""
    parts = [_part(path.parts[0]) for path in paths]
    skipped = 0 if None in parts else 1
    if skipped == 0 and any(parts):
        return None
    if any(len(path.parts) < skipped + 2 for path in paths):
        return None
    found = [_ClassImage(part or "train", path.parts[skipped], path) for part, path in zip(parts, paths, strict=True)]
    return found if 2 <= len({image.class_ for image in found}) <= MOST else None


def _part(name: str) -> str | None:
    found = _PART.search(_plain(name))
    return next(filter(None, found.groups())) if found else None


def _graded(classes: set[str]) -> tuple[tuple[str, ...], Mapping[str, int]]:
    """Return the names of the grades and the number of each class."""
    scale = {name: int(name) if name.isdecimal() else _SCALE.get(_plain(name), -1) for name in classes}
    if len(classes) == len(GRADES) and set(scale.values()) == set(range(len(GRADES))):
        return GRADES, scale
    numeric = all(name.isdecimal() for name in classes)
    names = sorted(classes, key=lambda name: (int(name) if numeric else 0, name))
    return tuple(names), {name: number for number, name in enumerate(names)}


def _listed(image: _ClassImage, grade: int, files: ImageFiles) -> ListedImage:
    origin: Origin = "test" if image.part == "test" else "train"
    name = image.path.as_posix()
    below = stem_of("/".join(image.path.parts[image.path.parts.index(image.class_) :]))
    told_apart = "val/" if image.part == "val" else ""  # a name may occur in both
    return ListedImage(
        id=f"{origin}/{told_apart}{below}",
        name=name,
        grade=str(grade),
        origin=origin,
        folder=files,
        where=name,
        group=eyes_of(Path(below).name),
    )


def _notes(images: Sequence[_ClassImage], grades: Sequence[str]) -> Iterator[str]:
    if tuple(grades) != GRADES:
        yield f"The classes are the folders in the order of their names, taken as a scale: {', '.join(grades)}."
    if any(image.part == "val" for image in images):
        yield "The validation folder is taken as training images, of which every study holds out some."


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", name.casefold()).strip()
