"""Images in one folder for each class, as torchvision's ``ImageFolder`` expects them.

``FOLDER/CLASS/...``, or ``FOLDER/train/CLASS/...`` with ``val`` and ``test`` next to it.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from drft.data.dataset import Origin
from drft.data.datasets.classes import words_of
from drft.data.datasets.csv_table import eyes_of
from drft.data.datasets.files import ImageFiles, stem_of
from drft.data.datasets.labels import LabelRow, SourceLabels

_PART = re.compile(r"\b(?:(train)(?:ing)?|(val)(?:id|idation)?|(test)(?:ing)?)\b")


class _ClassImage(NamedTuple):
    part: str
    """``train``, ``val`` or ``test``."""
    class_: str
    path: Path
    """Relative to the common parent folder of all images."""


def read_image_folder(folder: Path) -> SourceLabels | None:
    """Return the labels of the images below a folder, which are the names of their folders.

    Returns:
        None when there are no images, or their folders are no classes.
    """
    images = ImageFiles.of(folder)
    if not images.files:
        return None
    top = _common_folder(images.files)
    class_images = _class_images([file.relative_to(top) for file in images.files])
    if class_images is None:
        return None
    below_top = replace(ImageFiles.of(top), links=images.links)
    rows = [_label_row(image, below_top) for image in class_images]
    notes = []
    if any(image.part == "val" for image in class_images):
        notes.append("The images in the validation folder are used for training; each study makes its own split.")
    return SourceLabels(folder.name, rows, notes, grades=())


def find_stray_images(folder: Path) -> str | None:
    """Return a sentence on images beside the folders of classes, where only these keep a folder from being a source."""
    files = ImageFiles.of(folder).files
    if not files:
        return None
    top = _common_folder(files)
    for depth in (1, 2):  # beside the classes, or beside the parts or the classes of a part
        inside = [file for file in files if len(file.relative_to(top).parts) > depth]
        if inside and len(inside) < len(files):
            start = _common_folder(inside)
            if _class_images([file.relative_to(start) for file in inside]):
                stray = [str(file.relative_to(folder)) for file in files if len(file.relative_to(top).parts) <= depth]
                others = f" and {len(stray) - 1} more" if len(stray) > 1 else ""
                return (
                    f"{folder} holds a folder of images for each class, and beside them {stray[0]}{others}: "
                    "move each image into the folder of its class, or away"
                )
    return None


def _common_folder(files: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([file.parent for file in files]))


def _class_images(paths: Sequence[Path]) -> list[_ClassImage] | None:
    """Return part and class of each image; None where a folder is neither.

    Folders are parts where all of them have names of parts. Where only some have, as with ``valid`` and ``invalid``,
    all are classes, unless one that is named as a part holds folders as a part does.
    """
    parts = {path.parts[0]: _part(path.parts[0]) for path in paths}
    levels = 1 if all(parts.values()) else 0  # levels of folders above the class
    if levels == 0 and any(parts[path.parts[0]] and len(path.parts) > 2 for path in paths):
        return None
    if any(len(path.parts) < levels + 2 for path in paths):
        return None
    images = [
        _ClassImage((parts[path.parts[0]] if levels else None) or "train", path.parts[levels], path) for path in paths
    ]
    return images if len({image.class_ for image in images}) > 1 else None


def _part(name: str) -> str | None:
    """Return ``train``, ``val`` or ``test`` for the name of a part; None for another name."""
    match = _PART.search(words_of(name))
    return next(filter(None, match.groups())) if match else None


def _label_row(image: _ClassImage, images: ImageFiles) -> LabelRow:
    origin: Origin = "test" if image.part == "test" else "train"
    name = image.path.as_posix()
    # From the class on, so that the id does not have the part twice.
    stem = stem_of("/".join(image.path.parts[image.path.parts.index(image.class_) :]))
    folder = "val/" if image.part == "val" else ""  # the training folder may have a file of the same name
    return LabelRow(
        id=f"{origin}/{folder}{stem}",
        name=name,
        grade=image.class_,
        origin=origin,
        folder=images,
        location=name,
        group=eyes_of(Path(stem).name),
    )
