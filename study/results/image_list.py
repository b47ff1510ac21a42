"""The images of a study and their labels, so that a changed data set can be told image by image.

``images.csv`` in the folder of the study has one row per image: its name, the number of its class, and the part
(``train`` or ``test``) that it belongs to. The rows are in the order of the data set, which splits depend on. Whether
the images are the same is decided by the fingerprint of the data set, which does not depend on their order.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from drft.data.dataset import LabeledImage
from drft.files.csv_cells import text_cell, text_of_cell
from study.results.files import write_whole

FILE = "images.csv"
_COLUMNS = ("id", "grade", "origin")
_SHOWN = 3


def write_image_list(folder: Path, images: Iterable[LabeledImage]) -> None:
    """Write the list of a study's images, unless there is one.

    Raises:
        StudyError: when the file cannot be written.
    """
    if (folder / FILE).exists():
        return
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    rows.writerows((text_cell(image.id), image.grade, image.origin) for image in images)
    write_whole(folder / FILE, text.getvalue())


def changed_images(folder: Path, images: Iterable[LabeledImage]) -> str:
    """Return how images differ from the list of a study, the first of each kind by name.

    Returns:
        "2 labels differ: train/a (class 1 there, 2 here), ..."; empty if there is no list that can be read.
    """
    before = _read(folder / FILE)
    if before is None:
        return ""
    now = {image.id: str(image.grade) for image in images}
    changed = [
        f"{name} (class {grade} there, {now[name]} here)"
        for name, grade in before.items()
        if now.get(name, grade) != grade
    ]
    parts = (
        _named("1 label differs", "{} labels differ", changed),
        _named("1 image is new", "{} images are new", [name for name in now if name not in before]),
        _named("1 image is gone", "{} images are gone", [name for name in before if name not in now]),
    )
    return "; ".join(filter(None, parts)) or "names and labels are the same, but not the contents of the files"


def changed_order(folder: Path, images: Iterable[LabeledImage]) -> str:
    """Return the first image of the list of a study that has another position now.

    Returns:
        "number 2 is train/b there, train/c here"; empty if the order is the same, or if there is no list of these
        images that can be read.
    """
    before, now = _read(folder / FILE), [image.id for image in images]
    if before is None or before.keys() != set(now):
        return ""
    pairs = enumerate(zip(before, now, strict=True), start=1)
    return next(
        (f"number {number} is {there} there, {here} here" for number, (there, here) in pairs if there != here), ""
    )


def _read(path: Path) -> Mapping[str, str] | None:
    """Return the grade of each image; a part is part of the name. None if the list cannot be read."""
    try:
        rows = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    if not rows or tuple(rows[0]) != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        return None
    return {text_of_cell(name): grade for name, grade, _ in rows[1:]}


def _named(one: str, many: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{one if len(names) == 1 else many.format(len(names))}: {', '.join(names[:_SHOWN])}{more}"
