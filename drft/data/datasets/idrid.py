"""IDRiD, the Indian Diabetic Retinopathy Image Dataset (Porwal et al. 2018), as published and as on Kaggle.

The official numbers restart in the test set, so the id of an image has origin and stem: ``test/IDRiD_001``.
The Kaggle copy has both sets in one folder and marks the test images (``IDRiD_001test``); here they have
their official ids and origins.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from drft.data.dataset import Origin
from drft.data.datasets.csv_table import ColumnRoles, CsvTable, find_columns, read_table
from drft.data.datasets.faults import DataErrors
from drft.data.datasets.files import ImageFiles, files_below
from drft.data.datasets.labels import LabelRow, SourceLabels
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
"""Official grades of the 27 images whose grade differs in the Kaggle table, from the official label files
``a. IDRiD_Disease Grading_Training Labels.csv`` and ``b. IDRiD_Disease Grading_Testing Labels.csv``."""

_SUBFOLDER = re.compile(r"b disease grading|1 original images|2 groundtruths|[ab] (training|testing) set|imagenes")
"""Normalized names of the folders inside a copy of IDRiD."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The label tables of one copy of IDRiD, by origin; the Kaggle layout has one table for both."""

    training: Path
    testing: Path | None = None
    kaggle: bool = False


def find_layout(folder: Path) -> Layout | None:
    """Return the label tables of IDRiD in a folder, below it, or around it when the folder is a part of IDRiD.

    Returns:
        None when there is no IDRiD.

    Raises:
        DataError: when there are several copies.
    """
    while True:
        if layout := _layout_below(folder):
            return layout
        if not _SUBFOLDER.fullmatch(_normalize(folder.name)):
            return None
        folder = folder.parent


def table_kind(path: Path) -> str | None:
    """Return which of IDRiD's label tables a CSV is by its name: ``training``, ``testing``, ``kaggle`` or None."""
    name = _normalize(path.stem)
    if name == "idrid labels":
        return "kaggle"
    return next((kind for kind in ("training", "testing") if f"disease grading {kind} labels" in name), None)


def read_idrid(layout: Layout, options: Mapping[str, str]) -> SourceLabels:
    """Read the labels of one copy of IDRiD.

    Args:
        layout: its tables.
        options: ``labels``: ``as-given`` (default) uses the grades of the tables, ``official`` replaces the grades
            that differ in the Kaggle table by the official ones.

    Raises:
        DataError: when a table cannot be read, or a column or the image folder is missing.
    """
    labels = options.get("labels", "as-given")
    if labels not in {"as-given", "official"}:
        raise DataError(f"labels should be as-given or official, not {labels!r}")
    if layout.kaggle:
        table = read_table(layout.training)
        columns = find_columns(table, options)
        rows = _label_rows(table, columns, ImageFiles.of(layout.training.parent))
        changed = changed_grades(rows)
        if not changed:
            return SourceLabels("idrid-kaggle", rows)
        number = f"{len(changed)} of {len(rows)} grades of the Kaggle table"
        version = f"as given; {number} differ from the official ones (--labels official)"
        names = ", ".join(f"{row.id} ({row.grade}, officially {grade})" for row, grade in changed)
        if labels == "official":
            rows = [replace(row, grade=str(OFFICIAL_GRADES.get(row.id, row.grade))) for row in rows]
            version = f"official; {number} were replaced"
        return SourceLabels("idrid-kaggle", rows, label_version=version, notes=[f"Labels {version}: {names}."])
    tables: list[tuple[Path, Origin]] = [(layout.training, "train")]
    notes = []
    if layout.testing:
        tables.append((layout.testing, "test"))
    else:
        notes.append("The official testing labels are not there, so the official test images are not used.")
    faults = DataErrors()
    parts = faults.collect(lambda entry: _read_official(*entry, options), tables)
    faults.raise_all()
    return SourceLabels("idrid", [row for part in parts for row in part], notes)


def changed_grades(rows: Sequence[LabelRow]) -> Sequence[tuple[LabelRow, int]]:
    """Return the rows whose grade differs from the official one, with the official grade."""
    return [(row, OFFICIAL_GRADES[row.id]) for row in rows if row.grade != str(OFFICIAL_GRADES.get(row.id, row.grade))]


def _normalize(name: str) -> str:
    """Return a file or folder name as lower-case words, URL encoding decoded."""
    return re.sub(r"[^a-z0-9]+", " ", unquote(name).casefold()).strip()


def _layout_below(folder: Path) -> Layout | None:
    tables = [file for file in files_below(folder) if file.suffix.lower() == ".csv"]
    training, testing, kaggle = (
        [table for table in tables if table_kind(table) == kind] for kind in ("training", "testing", "kaggle")
    )
    if len(training) + len(kaggle) > 1:
        copies = " and ".join(str(table) for table in (*training, *kaggle)[:2])
        raise DataError(f"{folder} holds more than one copy of IDRiD ({copies}): name the folder of one of them")
    if kaggle:
        return Layout(kaggle[0], kaggle=True)
    if training:
        return Layout(training[0], next(iter(testing), None))
    return None


def _read_official(path: Path, origin: Origin, options: Mapping[str, str]) -> list[LabelRow]:
    table = read_table(path)
    columns = find_columns(table, options)
    images = _image_folder(path, f"{origin}ing set", {cells[columns.image] for _, cells in table.rows})
    return _label_rows(table, columns, images, origin)


def _image_folder(table: Path, name_end: str, names: set[str]) -> ImageFiles:
    """Return the folder nearest to a table whose name ends in ``name_end``.

    IDRiD's other challenges have folders of that name too, so the one with the most of the named images is taken.
    """
    for ancestor in table.parents[:3]:
        # The folders around a table may hold others that have nothing to do with it, and may not be readable.
        files = files_below(ancestor, skip_unreadable=True)
        paths = {file.parent for file in files if _normalize(file.parent.name).endswith(name_end)}
        if paths:
            folders = [ImageFiles.of(path) for path in sorted(paths)]
            return max(folders, key=lambda folder: len({file.stem for file in folder.files} & names))
    raise DataError(
        f"{table.name}: no folder '... {name_end.title()}' of images near {table.parent}: "
        "keep the folders '1. Original Images' and '2. Groundtruths' together"
    )


def _label_rows(
    table: CsvTable, columns: ColumnRoles, images: ImageFiles, origin: Origin | None = None
) -> list[LabelRow]:
    """Return the rows of a table; without ``origin`` it is the Kaggle table, whose test images end in ``test``.

    Raises:
        DataError: when quotation marks enclose rows.
    """
    if lost := list(table.lost_rows(columns.image, images.find)):
        raise DataError(lost)
    rows = []
    for line, cells in table.rows:
        name = cells[columns.image]
        stem = name if origin else name.removesuffix("test")
        part: Origin = origin or ("train" if stem == name else "test")
        location, others = table.location(line), columns.others(cells)
        rows.append(LabelRow(f"{part}/{stem}", name, cells[columns.grade], part, images, location, others=others))
    return rows
