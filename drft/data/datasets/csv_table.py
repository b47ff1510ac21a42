"""Label tables: a CSV that names images and their grades, whatever its columns are called.

Recognised by their columns: APTOS 2019 (``id_code``, ``diagnosis``), EyePACS (``image``, ``level``), Messidor-2
(``adjudicated_dr_grade``, ``adjudicated_gradable``), DDR on Kaggle (``id_code``, ``diagnosis``); any other table by
naming its columns.
"""

import csv
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from drft.config.trial_config import nearest
from drft.data.dataset import Origin
from drft.data.datasets.faults import DataErrors
from drft.data.datasets.files import ImageFiles, stem_of
from drft.data.datasets.listing import ListedImage, Listing
from drft.errors import DataError

OPTIONS = ("image_column", "grade_column", "group_column", "origin_column", "images")
"""Options of a generic table."""

USUAL_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": (
        "image", "id code", "image id", "image name", "filename", "file name", "file", "image path", "path", "id",
    ),
    "grade": (
        "diagnosis", "level", "grade", "retinopathy grade", "adjudicated dr grade", "dr grade", "dr", "label", "class",
    ),
    "group": ("group", "patient", "patient id", "subject", "subject id"),
    "origin": ("origin", "split"),
}  # fmt: skip
"""Usual names of each column, in the order they are tried; case, ``_`` and blanks make no difference."""

PAIRS = "messidor-2.csv"
"""Messidor-2's list of the two eyes of each patient, as ADCIS names it: columns ``left`` and ``right``."""

_GRADABLE = "adjudicated gradable"
_EYE = re.compile(r"(.+)_(left|right)", re.IGNORECASE)
_ORIGINS: Mapping[str, Origin] = {
    "train": "train", "training": "train", "val": "train", "valid": "train", "validation": "train",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A CSV as read: stripped column names, and for each row its line number and cells by column."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, str]], ...]

    def where(self, line: int) -> str:
        """Return how messages name a line."""
        return f"{self.path.name}, line {line}"

    def named(self, column: str) -> str | None:
        """Return the column of this name; case, ``_`` and blanks make no difference."""
        return next((known for known in self.columns if _plain(known) == _plain(column)), None)


@dataclass(frozen=True, slots=True)
class ColumnRoles:
    """Which column of a table says what."""

    image: str
    grade: str
    group: str | None
    origin: str | None

    def others(self, cells: Mapping[str, str]) -> Mapping[str, str]:
        """Return the cells of the columns that are none of these."""
        known = {self.image, self.grade, self.group, self.origin}
        return {name: cell for name, cell in cells.items() if name not in known}


def read_table(path: Path) -> CsvTable:
    """Read a CSV with its quirks: byte order mark, CRLF, blanks around names, empty columns and rows.

    Raises:
        DataError: when it cannot be read, is empty or has no rows.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: save it as 'CSV UTF-8'") from None
    if not text.strip():
        raise DataError(f"{path} is empty: it should name one image and its grade per line")
    delimiter = max(",;\t", key=text.splitlines()[0].count)
    reader = csv.reader(StringIO(text), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader)]
        rows = tuple((reader.line_num, _cells(header, row)) for row in reader if any(cell.strip() for cell in row))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num} is no CSV ({error}): mend the line") from None
    if not rows:
        raise DataError(f"{path} has no rows below its header: it should name one image and its grade per line")
    return CsvTable(path, tuple(name for name in header if name), rows)


def find_columns(table: CsvTable, options: Mapping[str, str]) -> ColumnRoles:
    """Find the columns by the options ``image_column`` ..., else by their usual names.

    Raises:
        DataError: with one line for each column that is not there.
    """
    faults = DataErrors()
    roles = ("image", "grade", "group", "origin")
    found = faults.collect(lambda role: _find_column(table, role, options), roles)
    faults.raise_all()
    image, grade, group, origin = found
    assert image is not None
    assert grade is not None
    return ColumnRoles(image, grade, group, origin)


def list_table(path: Path, options: Mapping[str, str]) -> Listing:
    """Read what any label table claims of its images.

    Args:
        path: the CSV.
        options: those of ``OPTIONS``; ``images`` is the image folder, by default the one the CSV is in.

    Raises:
        DataError: when the table cannot be read, or lacks a column or its image folder.
    """
    table = read_table(path)
    columns = find_columns(table, options)
    folder = ImageFiles.of(_image_folder(path, options))
    gradable, notes = _gradable(table)
    pairs = _pairs(table, folder.path)
    faults = DataErrors()
    listed = faults.collect(lambda row: _listed(table, columns, folder, pairs, row), gradable)
    notes += [*_eyes(listed, columns, pairs), *_unpaired(table, pairs)]
    return Listing(path.stem, listed, notes, faults.lines)


def eyes_of(stem: str) -> str | None:
    """Return the group of one patient's eyes, if the name says which eye of whom it is: ``10_left``."""
    eye = _EYE.fullmatch(stem)
    return f"patient {eye[1]}" if eye else None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _cells(header: Sequence[str], row: Sequence[str]) -> Mapping[str, str]:
    cells = [cell.strip() for cell in row] + [""] * (len(header) - len(row))
    return {name: cell for name, cell in zip(header, cells, strict=False) if name}


def _find_column(table: CsvTable, role: str, options: Mapping[str, str]) -> str | None:
    there = f"its columns are {', '.join(map(repr, table.columns))}"
    if asked := options.get(f"{role}_column"):
        if found := table.named(asked):
            return found
        raise DataError(f"{table.path.name} has no column {asked!r}{nearest(asked, list(table.columns))}; {there}")
    for usual in USUAL_COLUMNS[role]:
        if found := table.named(usual):
            return found
    if role in {"image", "grade"}:
        raise DataError(
            f"{table.path.name} has no column that names the {role}{_resembling(table, role)}; {there}: "
            f"name it with --{role}-column"
        )
    return None


def _resembling(table: CsvTable, role: str) -> str:
    """Return a hint at the column whose name comes closest to a usual one."""
    for column in table.columns:
        if difflib.get_close_matches(_plain(column), USUAL_COLUMNS[role], n=1, cutoff=0.75):
            return f" (did you mean {column!r}?)"
    return ""


def _image_folder(path: Path, options: Mapping[str, str]) -> Path:
    folder = Path(options["images"]).expanduser() if "images" in options else path.parent
    if not folder.is_dir():
        raise DataError(f"there is no image folder {folder}: name the folder of the images with --images")
    return folder


def _gradable(table: CsvTable) -> tuple[Sequence[tuple[int, Mapping[str, str]]], list[str]]:
    """Leave out what the graders of Messidor-2 marked as not gradable."""
    column = table.named(_GRADABLE)
    if column is None:
        return table.rows, []
    kept = [(line, cells) for line, cells in table.rows if cells[column] not in {"0", "0.0"}]
    left_out = len(table.rows) - len(kept)
    return kept, [f"{left_out} images that graders marked as not gradable are left out."] if left_out else []


def _pairs(table: CsvTable, images: Path) -> Mapping[str, str]:
    """Return the group of each image of Messidor-2, by its stem; empty where no list of pairs is near."""
    if table.named(_GRADABLE) is None:
        return {}
    folders = dict.fromkeys((table.path.parent, images, images.parent))
    path = next((folder / PAIRS for folder in folders if (folder / PAIRS).is_file()), None)
    if path is None:
        return {}
    pairs = read_table(path)
    sides = [pairs.named("left"), pairs.named("right")]
    if None in sides:
        raise DataError(f"{path} should have the columns left and right; it has {', '.join(map(repr, pairs.columns))}")
    return {
        stem_of(cells[side]): f"pair {line - 1}"
        for line, cells in pairs.rows
        for side in sides
        if side is not None and cells[side]
    }


def _listed(
    table: CsvTable,
    columns: ColumnRoles,
    folder: ImageFiles,
    pairs: Mapping[str, str],
    row: tuple[int, Mapping[str, str]],
) -> ListedImage:
    line, cells = row
    name = cells[columns.image]
    if not name:
        raise DataError(f"{table.where(line)}: no image is named in column {columns.image!r}: complete the line")
    origin = _origin(table, columns, row)
    return ListedImage(
        id=f"{origin}/{stem_of(name)}",
        name=name,
        grade=cells[columns.grade],
        origin=origin,
        folder=folder,
        where=table.where(line),
        group=_group(cells, columns) or pairs.get(stem_of(name)),
        others=columns.others(cells),
    )


def _origin(table: CsvTable, columns: ColumnRoles, row: tuple[int, Mapping[str, str]]) -> Origin:
    line, cells = row
    if columns.origin is None:
        return "train"
    said = cells[columns.origin]
    if said.casefold() not in _ORIGINS:
        raise DataError(f"{table.where(line)}: {columns.origin} {said!r} should be 'train' or 'test'")
    return _ORIGINS[said.casefold()]


def _group(cells: Mapping[str, str], columns: ColumnRoles) -> str | None:
    if columns.group is not None:
        return f"{columns.group} {cells[columns.group]}" if cells[columns.group] else None
    return eyes_of(stem_of(cells[columns.image]))


def _eyes(listed: Sequence[ListedImage], columns: ColumnRoles, pairs: Mapping[str, str]) -> Iterator[str]:
    if pairs:
        yield f"Images that {PAIRS} pairs are the two eyes of one patient and stay on one side."
    elif columns.group is None and any(line.group for line in listed):
        yield "Names ending in _left and _right are taken as the two eyes of one patient and stay on one side."


def _unpaired(table: CsvTable, pairs: Mapping[str, str]) -> Iterator[str]:
    if table.named(_GRADABLE) and not pairs:
        yield f"{PAIRS} is not there, which says whose eyes are whose: the two of one patient may be on both sides."
