"""Images in one folder for each class, as torchvision's ``ImageFolder`` expects them.

``FOLDER/CLASS/...``, or ``FOLDER/train/CLASS/...`` with ``val`` and ``test`` next to it.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from drft.data.dataset import GRADES, Origin
from drft.data.datasets.csv_table import eyes_of
from drft.data.datasets.files import ImageFiles, stem_of
from drft.data.datasets.labels import GRADE_WORDS, LabelRow, SourceLabels, words_of
from drft.errors import DataError

MAX_CLASSES = 10
"""Most folders that are taken as classes; more folders are probably patients."""

_PART = re.compile(r"\b(?:(train)(?:ing)?|(val)(?:id|idation)?|(test)(?:ing)?)\b")


class _ClassImage(NamedTuple):
    part: str
    """``train``, ``val`` or ``test``."""
    class_: str
    path: Path
    """Relative to the common parent folder of all images."""


def read_image_folder(folder: Path) -> SourceLabels | None:
    """Return the labels of the images below a folder, which are the names of their folders.

    Folders named 0 to 4, or as the grades of the international scale, are those grades; other folders are classes in
    the order of their names.

    Returns:
        None when there are no images, or their folders are no classes.

    Raises:
        DataError: when there are too many folders to be classes.
    """
    images = ImageFiles.of(folder)
    if not images.files:
        return None
    top = Path(os.path.commonpath([file.parent for file in images.files]))
    class_images = _class_images([file.relative_to(top) for file in images.files])
    if class_images is None:
        return None
    classes_found = {image.class_ for image in class_images}
    if len(classes_found) > MAX_CLASSES:
        raise DataError(
            f"{folder} has images in {len(classes_found)} folders, and at most {MAX_CLASSES} are taken as classes "
            "(more are probably patients): join folders, or name a table of labels"
        )
    grades, numbers = _grades(classes_found)
    below_top = replace(ImageFiles.of(top), links=images.links)
    rows = [_label_row(image, numbers[image.class_], below_top) for image in class_images]
    notes = []
    if grades != GRADES:
        classes = ", ".join(grades)
        notes.append(f"The classes are the folders in the order of their names, taken as a scale: {classes}.")
    if any(image.part == "val" for image in class_images):
        notes.append("The images in the validation folder are used for training; each study makes its own split.")
    return SourceLabels(folder.name, rows, notes, grades=grades)


def _class_images(paths: Sequence[Path]) -> list[_ClassImage] | None:
    """Return part and class of each image; None where a folder is neither."""
    matches = [_PART.search(words_of(path.parts[0])) for path in paths]
    parts = [next(filter(None, match.groups())) if match else None for match in matches]
    levels = 0 if None in parts else 1  # levels of folders above the class
    if levels == 0 and any(parts):
        return None
    if any(len(path.parts) < levels + 2 for path in paths):
        return None
    images = [_ClassImage(part or "train", path.parts[levels], path) for part, path in zip(parts, paths, strict=True)]
    return images if len({image.class_ for image in images}) > 1 else None


def _grades(classes: set[str]) -> tuple[tuple[str, ...], Mapping[str, int]]:
    """Return the names of the grades and the number of each class."""
    scale = {name: int(name) if name.isdecimal() else GRADE_WORDS.get(words_of(name), -1) for name in classes}
    if len(classes) == len(GRADES) and set(scale.values()) == set(range(len(GRADES))):
        return GRADES, scale
    numeric = all(name.isdecimal() for name in classes)
    names = sorted(classes, key=lambda name: (int(name) if numeric else 0, name))
    return tuple(names), {name: number for number, name in enumerate(names)}


def _label_row(image: _ClassImage, grade: int, images: ImageFiles) -> LabelRow:
    origin: Origin = "test" if image.part == "test" else "train"
    name = image.path.as_posix()
    # From the class on, so that the id does not have the part twice.
    stem = stem_of("/".join(image.path.parts[image.path.parts.index(image.class_) :]))
    folder = "val/" if image.part == "val" else ""  # the training folder may have a file of the same name
    return LabelRow(
        id=f"{origin}/{folder}{stem}",
        name=name,
        grade=str(grade),
        origin=origin,
        folder=images,
        location=name,
        group=eyes_of(Path(stem).name),
    )
