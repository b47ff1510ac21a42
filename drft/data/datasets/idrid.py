"""IDRiD, the Indian Diabetic Retinopathy Image Dataset (Porwal et al. 2018), as published and as on Kaggle.

The official numbering restarts in the test set, so an image is known by origin and stem: ``test/IDRiD_001``.
The Kaggle re-host mixes both sets in one folder and marks the test images (``IDRiD_001test``); here they get
their official ids and origins back.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from drft.data.dataset import Origin
from drft.data.datasets.csv_table import find_columns, read_table
from drft.data.datasets.faults import DataErrors
from drft.data.datasets.files import ImageFiles, files_below
from drft.data.datasets.listing import ListedImage, Listing
from drft.errors import DataError

OPTIONS = ("labels", "image_column", "grade_column")
"""Options of IDRiD: ``labels`` is ``as-given`` or ``official``; the columns are for tables that someone has changed."""

KAGGLE = "mariaherrerot/idrid-dataset"

OFFICIAL_GRADES: Mapping[str, int] = {
    "train/IDRiD_098": 3, "train/IDRiD_099": 3, "train/IDRiD_192": 3, "train/IDRiD_194": 1, "train/IDRiD_198": 1,
    "train/IDRiD_201": 2, "train/IDRiD_208": 2, "train/IDRiD_215": 2, "train/IDRiD_256": 1, "train/IDRiD_260": 2,
    "train/IDRiD_263": 2, "train/IDRiD_266": 1, "train/IDRiD_270": 2, "train/IDRiD_278": 3, "train/IDRiD_282": 2,
    "train/IDRiD_290": 1, "train/IDRiD_299": 3, "train/IDRiD_311": 2, "train/IDRiD_324": 3, "train/IDRiD_349": 3,
    "train/IDRiD_412": 2, "test/IDRiD_062": 4, "test/IDRiD_063": 1, "test/IDRiD_064": 3, "test/IDRiD_087": 4,
    "test/IDRiD_088": 2, "test/IDRiD_089": 2,
}  # fmt: skip
"""Official grades of the 27 images that the Kaggle table grades otherwise, from the official label files
``a. IDRiD_Disease Grading_Training Labels.csv`` and ``b. IDRiD_Disease Grading_Testing Labels.csv``."""

_PIECES = re.compile(r"b disease grading|1 original images|2 groundtruths|[ab] (training|testing) set|imagenes")


@dataclass(frozen=True, slots=True)
class Layout:
    """The label tables of one copy of IDRiD, by origin; the Kaggle layout has one table for both."""

    training: Path
    testing: Path | None = None
    kaggle: bool = False


def find_layout(folder: Path) -> Layout | None:
    """Find IDRiD in a folder, below it, or around it when it is a piece of IDRiD; None when it is not there.

    Raises:
        DataError: when there are several copies.
    """
    while True:
        if layout := _layout_below(folder):
            return layout
        if not _PIECES.fullmatch(_plain(folder.name)):
            return None
        folder = folder.parent


def is_label_table(path: Path) -> bool:
    """Tell whether a CSV is one of IDRiD's own, by its name."""
    return _is_training(path) or _is_testing(path) or _is_kaggle(path)


def list_idrid(layout: Layout, options: Mapping[str, str]) -> Listing:
    """Read what the tables of one copy of IDRiD claim.

    Args:
        layout: where its tables are.
        options: ``labels``: ``as-given`` (default) keeps the grades of the tables, ``official`` puts the official
            grades in the place of those that the Kaggle table has changed.

    Raises:
        DataError: when a table cannot be read, or lacks a column or its image folder.
    """
    labels = options.get("labels", "as-given")
    if labels not in {"as-given", "official"}:
        raise DataError(f"labels should be as-given or official, not {labels!r}")
    if not layout.kaggle:
        return Listing("idrid", _official(layout, options), [*_missing_test(layout)])
    listed, notes = _settle_grades(_kaggle(layout, options), official=labels == "official")
    return Listing("idrid-kaggle", listed, notes)


def changed_grades(listed: Sequence[ListedImage]) -> Sequence[tuple[ListedImage, int]]:
    """Return the lines whose grade differs from the official one, with that grade."""
    differing = (line for line in listed if line.grade != str(OFFICIAL_GRADES.get(line.id, line.grade)))
    return [(line, OFFICIAL_GRADES[line.id]) for line in differing]


def _plain(name: str) -> str:
    """Return a file or folder name as lower-case words, URL encoding undone."""
    return re.sub(r"[^a-z0-9]+", " ", unquote(name).casefold()).strip()


def _is_training(table: Path) -> bool:
    return "disease grading training labels" in _plain(table.name)


def _is_testing(table: Path) -> bool:
    return "disease grading testing labels" in _plain(table.name)


def _is_kaggle(table: Path) -> bool:
    return _plain(table.stem) == "idrid labels"


def _layout_below(folder: Path) -> Layout | None:
    tables = [file for file in files_below(folder) if file.suffix.lower() == ".csv"]
    training = [table for table in tables if _is_training(table)]
    testing = [table for table in tables if _is_testing(table)]
    kaggle = [table for table in tables if _is_kaggle(table)]
    if len(training) + len(kaggle) > 1:
        copies = " and ".join(str(table) for table in (*training, *kaggle)[:2])
        raise DataError(f"{folder} holds more than one copy of IDRiD ({copies}): name the folder of one of them")
    if kaggle:
        return Layout(kaggle[0], kaggle=True)
    if training:
        return Layout(training[0], next(iter(testing), None))
    return None


def _official(layout: Layout, options: Mapping[str, str]) -> list[ListedImage]:
    tables: list[tuple[Path, Origin]] = [(layout.training, "train")]
    if layout.testing:
        tables.append((layout.testing, "test"))
    faults = DataErrors()
    listed = faults.collect(lambda entry: _official_part(*entry, options), tables)
    faults.raise_all()
    return [line for part in listed for line in part]


def _official_part(path: Path, origin: Origin, options: Mapping[str, str]) -> list[ListedImage]:
    table = read_table(path)
    columns = find_columns(table, options)
    names = [cells[columns.image] for _, cells in table.rows]
    folder = _image_folder(path, f"{origin}ing set", names)
    return [
        ListedImage(
            f"{origin}/{cells[columns.image]}",
            cells[columns.image],
            cells[columns.grade],
            origin,
            folder,
            table.where(line),
            others=columns.others(cells),
        )
        for line, cells in table.rows
    ]


def _image_folder(table: Path, called: str, names: Sequence[str]) -> ImageFiles:
    """Find the folder ``called`` nearest to a table; IDRiD's other challenges have folders of that name too."""
    for around in table.parents[:3]:
        paths = {file.parent for file in files_below(around) if _plain(file.parent.name).endswith(called)}
        if paths:
            folders = [ImageFiles.of(path) for path in sorted(paths)]
            return max(folders, key=lambda folder: len({file.stem for file in folder.files} & set(names)))
    raise DataError(
        f"{table.name}: no folder '... {called.title()}' of images near {table.parent}: "
        "keep the folders '1. Original Images' and '2. Groundtruths' together"
    )


def _missing_test(layout: Layout) -> Iterator[str]:
    if layout.testing is None:
        yield "The official testing labels are not there, so the official test images are not used."


def _kaggle(layout: Layout, options: Mapping[str, str]) -> list[ListedImage]:
    table = read_table(layout.training)
    columns = find_columns(table, options)
    folder = ImageFiles.of(layout.training.parent)
    return [
        ListedImage(
            id_,
            cells[columns.image],
            cells[columns.grade],
            origin,
            folder,
            table.where(line),
            others=columns.others(cells),
        )
        for line, cells in table.rows
        for id_, origin in [_official_id(cells[columns.image])]
    ]


def _official_id(id_code: str) -> tuple[str, Origin]:
    """Return the official id and origin of an image in the Kaggle layout."""
    stem = id_code.removesuffix("test")
    origin: Origin = "train" if stem == id_code else "test"
    return f"{origin}/{stem}", origin


def _settle_grades(listed: Sequence[ListedImage], *, official: bool) -> tuple[list[ListedImage], list[str]]:
    """Replace or report the grades that differ from the official ones."""
    differing = changed_grades(listed)
    if not differing:
        return list(listed), []
    names = ", ".join(f"{line.id} ({line.grade}, officially {official_grade})" for line, official_grade in differing)
    what = "were replaced by the official ones" if official else "are used as given (labels=official replaces them)"
    note = f"{len(differing)} of {len(listed)} Kaggle grades differ from the official ones and {what}: {names}."
    if not official:
        return list(listed), [note]
    replaced = [replace(line, grade=str(OFFICIAL_GRADES.get(line.id, line.grade))) for line in listed]
    return replaced, [note]
