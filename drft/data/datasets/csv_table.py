"""Label tables: a CSV that names images and their labels, with any column names and any classes.

Recognised by their columns as tables of retinopathy grades: APTOS 2019 (``id_code``, ``diagnosis``), EyePACS
(``image``, ``level``), Messidor-2 (``adjudicated_dr_grade``, ``adjudicated_gradable``), DDR on Kaggle (``id_code``,
``diagnosis``). For tables without usual column names the user names the columns.
"""

import csv
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from drft.config.trial_config import nearest
from drft.data.dataset import GRADES, Origin
from drft.data.datasets.classes import GRADE_WORDS, words_of
from drft.data.datasets.faults import DataErrors
from drft.data.datasets.files import ImageFiles, stem_of
from drft.data.datasets.labels import LabelRow, SourceLabels
from drft.errors import DataError
from drft.files.home import expand_home

OPTIONS = ("image_column", "grade_column", "group_column", "origin_column", "images")
"""Options of a generic table."""

USUAL_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": (
        "image", "id code", "image id", "image name", "filename", "file name", "file", "image path", "path",
        "image index", "isic id", "id",
    ),
    "grade": (
        "diagnosis", "level", "grade", "retinopathy grade", "adjudicated dr grade", "dr grade", "dr", "label", "class",
        "dx", "labels", "class name", "category", "target", "disease", "finding labels", "finding",
    ),
    "group": ("group", "patient", "patient id", "patientid", "subject", "subject id", "case id", "lesion id"),
    "origin": ("origin", "split", "subset"),
}  # fmt: skip
"""Usual names of each column, in the order in which they are tried; case, ``_`` and blanks are ignored."""

PAIRS = "messidor-2.csv"
"""Messidor-2's list of the two eyes of each patient, as ADCIS names it: columns ``left`` and ``right``."""

SUFFIXES = frozenset({".csv", ".tsv"})
"""Suffixes of label tables, in lower case."""

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?')
"""The first line of some tables that Excel writes."""

_OF_RETINOPATHY = frozenset({"retinopathy grade", "adjudicated dr grade", "dr grade", "dr"})
"""Names of columns whose labels are grades of retinopathy."""

_TABLES_OF_RETINOPATHY = frozenset({("id code", "diagnosis"), ("image", "level")})
"""Columns of images and labels by which APTOS 2019, DDR on Kaggle and EyePACS are recognised."""

_GRADABLE = "adjudicated gradable"
_NUMBER = re.compile(r"-?\d+(\.\d*)?")
_EYE = re.compile(r"(.+)_(left|right)", re.IGNORECASE)
_ORIGINS: Mapping[str, Origin] = {
    "train": "train", "training": "train", "val": "train", "valid": "train", "validation": "train",
    "test": "test", "testing": "test",
}  # fmt: skip

Row = tuple[int, Mapping[str, str]]
"""Line number of a row of a CSV, and its cells by column."""


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A CSV as read, with stripped column names."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    joined: tuple[tuple[int, tuple[Row, ...]], ...] = ()
    """Lines that quotation marks join to one row: the number of the first, and all with enough cells as rows."""

    def location(self, line: int) -> str:
        """Return the name of a line for messages."""
        return f"{self.path.name}, line {line}"

    def find_column(self, name: str) -> str | None:
        """Return the column of this name; case, ``_`` and blanks are ignored.

        Raises:
            DataError: when there are several.
        """
        found = [column for column in self.columns if _normalize(column) == _normalize(name)]
        if len(found) > 1:
            names = " and ".join(map(repr, found))
            raise DataError(f"{self.path.name}: the header names one column {len(found)} times ({names}): keep one")
        return next(iter(found), None)

    def lost_rows(self, column: str, key: Callable[[str], object]) -> Iterator[str]:
        """Yield one sentence for each row in which two stray quotation marks enclose other rows.

        Texts with line breaks are accepted. A line in quotation marks is a lost row when it has a cell for each column,
        and names in ``column`` what ``key`` finds and no row names.

        Args:
            column: the column that every row needs.
            key: what a cell of this column names; raises ``DataError`` or returns None when it names nothing.
        """
        if not self.joined:
            return

        def named(rows: Sequence[Row]) -> list[tuple[int, str, object]]:
            cells = [(line, row[column]) for line, row in rows]
            found = DataErrors().collect(lambda cell: (*cell, key(cell[1])), cells)
            return [row for row in found if row[2] is not None]

        known = {found for _, _, found in named(self.rows)}
        for first, lines in self.joined:
            lost = [(line, name) for line, name, found in named(lines) if found not in known]
            if lost:
                line, name = lost[0]
                yield (
                    f"{self.location(first)}: it has quotation marks around other rows, such as that of {name!r} in "
                    f"line {line}: remove or double the stray marks"
                )


@dataclass(frozen=True, slots=True)
class ColumnRoles:
    """The columns of a table that hold images, labels, groups and origins."""

    image: str
    grade: str
    """Of the labels, whether or not they are grades."""
    group: str | None
    origin: str | None

    @property
    def known(self) -> Mapping[str, str]:
        """The columns that the table has, by role in words for users."""
        roles = {"image": self.image, "label": self.grade, "group": self.group, "part": self.origin}
        return {role: column for role, column in roles.items() if column is not None}

    def others(self, cells: Mapping[str, str]) -> Mapping[str, str]:
        """Return the cells of all other columns."""
        known = self.known.values()
        return {name: cell for name, cell in cells.items() if name not in known}


def read_table(path: Path) -> CsvTable:
    """Read a CSV; a byte order mark, CRLF, blanks around names, empty columns and empty rows are accepted.

    Columns are separated by commas, semicolons, tabs or ``|``, whichever is most frequent in the first line with text,
    or as Excel's line ``sep=;`` says.

    Raises:
        DataError: when it cannot be read, is empty, has no rows or a quotation mark that is not closed, or when a row
            has more cells than the header.
    """
    lines, skipped, delimiter = _read_lines(path)
    header, rows, joined = _parse_lines(path, lines, skipped, delimiter)
    if not rows:
        raise DataError(f"{path} has no rows below its header: it should name one image and its label per line")
    return CsvTable(path, tuple(name for name in header if name), tuple(rows), tuple(joined))


def has_columns(path: Path, names: Sequence[str]) -> bool:
    """Return whether a file is a table with columns of these names; its rows are not checked."""
    try:
        lines, skipped, delimiter = _read_lines(path)
        header = next(csv.reader(lines[skipped:], delimiter=delimiter), [])
    except (DataError, csv.Error):
        return False
    return {_normalize(name) for name in names} <= {_normalize(name) for name in header}


def _read_lines(path: Path) -> tuple[list[str], int, str]:
    """Return the lines of a table, how many come before its header, and what separates its columns."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: save it as 'CSV UTF-8'") from None
    if not text.strip():
        raise DataError(f"{path} is empty: it should name one image and its label per line")
    lines = StringIO(text).readlines()
    skipped = next(number for number, line in enumerate(lines) if line.strip())
    separator = _SEPARATOR_LINE.fullmatch(lines[skipped].strip())
    skipped += separator is not None
    first = lines[skipped] if skipped < len(lines) else ""
    return lines, skipped, separator[1] if separator else max(",;\t|", key=first.count)


def find_columns(table: CsvTable, options: Mapping[str, str]) -> ColumnRoles:
    """Find the columns by the options ``image_column`` ..., otherwise by their usual names.

    Raises:
        DataError: with one line for each missing column.
    """
    faults = DataErrors()
    columns = faults.collect(lambda role: _find_column(table, role, options), ("image", "grade", "group", "origin"))
    faults.raise_all()
    image, grade, group, origin = columns
    assert image is not None
    assert grade is not None
    return ColumnRoles(image, grade, group, origin)


def read_label_table(path: Path, options: Mapping[str, str]) -> SourceLabels:
    """Read the labels in a table.

    Args:
        path: the CSV.
        options: those of ``OPTIONS``; ``images`` is the image folder, by default the folder of the CSV.

    Returns:
        The labels; their classes are known for a table of retinopathy only.

    Raises:
        DataError: when the table cannot be read, or a column or the image folder is missing.
    """
    table = read_table(path)
    columns = find_columns(table, options)
    folder = expand_home(options["images"]) if "images" in options else path.parent
    if not folder.is_dir():
        raise DataError(f"there is no image folder {folder}: name the folder of the images with --images")
    images = ImageFiles.of(folder)
    gradable, notes = _gradable_rows(table)
    pairs = _eye_pairs(table, folder)
    faults = DataErrors()
    faults.add(table.lost_rows(columns.image, images.find))
    rows = faults.collect(lambda row: _label_row(table, columns, images, pairs, row), gradable)
    if pairs:
        notes.append(f"Images that {PAIRS} pairs are the two eyes of one patient and stay on one side.")
    elif columns.group is None and any(row.group for row in rows):
        notes.append("Names ending in _left and _right are taken as the two eyes of one patient and stay on one side.")
    if table.find_column(_GRADABLE) and not pairs:
        notes.append(f"{PAIRS} is not there, so the two eyes of one patient may be on both sides of a split.")
    grades = GRADES if _has_retinopathy_grades(columns, [row.grade for row in rows]) else ()
    return SourceLabels(path.stem, rows, notes, faults.lines, grades=grades, columns=columns.known)


def eyes_of(stem: str) -> str | None:
    """Return the group of a patient's eyes when the name has the form ``10_left``; None otherwise."""
    eye = _EYE.fullmatch(stem)
    return f"patient {eye[1]}" if eye else None


def _has_retinopathy_grades(columns: ColumnRoles, labels: Sequence[str]) -> bool:
    """Return whether the columns are those of a table of retinopathy grades, and few of its labels are other words."""
    names = _normalize(columns.image), _normalize(columns.grade)
    if names[1] not in _OF_RETINOPATHY and names not in _TABLES_OF_RETINOPATHY:
        return False
    others = [label for label in labels if not _NUMBER.fullmatch(label) and words_of(label) not in GRADE_WORDS]
    return 2 * len(others) <= len(labels)


def _normalize(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _parse_lines(
    path: Path, lines: Sequence[str], skipped: int, delimiter: str
) -> tuple[Sequence[str], list[Row], list[tuple[int, tuple[Row, ...]]]]:
    """Return the header, the rows with the numbers of their first lines, and the lines that quotation marks join."""
    # A reader that is not strict takes all lines after a quotation mark that is not closed for one cell.
    reader = csv.reader(lines[skipped:], delimiter=delimiter, strict=True)
    faults = DataErrors()
    line = skipped + 1
    try:
        header = [name.strip() for name in next(reader, ())]
        named = max((number for number, name in enumerate(header, start=1) if name), default=0)
        rows = []
        spans = [range(line, line := skipped + reader.line_num + 1)]
        for row in reader:
            if any(cell.strip() for cell in row[named:]):
                fault = f"it has more cells than the header has names ({named})"
                advice = f"put cells that contain {delimiter!r} in quotation marks, or name all columns"
                faults.add([f"{path.name}, line {line}: {fault}: {advice}"])
            elif any(cell.strip() for cell in row):
                rows.append((line, _cells(header, row)))
            spans.append(range(line, line := skipped + reader.line_num + 1))
    except csv.Error as error:
        advice = "close or remove its quotation mark" if '"' in lines[line - 1] else "fix the line"
        raise DataError(f"{path}, line {line} is not CSV ({error}): {advice}") from None
    faults.raise_all()
    joined = []
    for span in spans:
        split = [(number, lines[number - 1].replace('"', "").split(delimiter)) for number in span if len(span) > 1]
        if full := tuple((number, _cells(header, cells)) for number, cells in split if len(cells) >= named):
            joined.append((span[0], full))
    return header, rows, joined


def _cells(header: Sequence[str], row: Sequence[str]) -> Mapping[str, str]:
    cells = [cell.strip() for cell in row] + [""] * (len(header) - len(row))
    return {name: cell for name, cell in zip(header, cells, strict=False) if name}


def _find_column(table: CsvTable, role: str, options: Mapping[str, str]) -> str | None:
    existing = f"its columns are {', '.join(map(repr, table.columns))}"
    if name := options.get(f"{role}_column"):
        if column := table.find_column(name):
            return column
        raise DataError(f"{table.path.name} has no column {name!r}{nearest(name, list(table.columns))}; {existing}")
    for usual in USUAL_COLUMNS[role]:
        if column := table.find_column(usual):
            return column
    if role not in {"image", "grade"}:
        return None
    similar = (
        column
        for column in table.columns
        if difflib.get_close_matches(_normalize(column), USUAL_COLUMNS[role], n=1, cutoff=0.75)
    )
    hint = f" (did you mean {column!r}?)" if (column := next(similar, None)) else ""
    role = "label" if role == "grade" else role
    raise DataError(
        f"{table.path.name} has no column that names the {role}{hint}; {existing}: name it with --{role}-column"
    )


def _gradable_rows(table: CsvTable) -> tuple[Sequence[Row], list[str]]:
    """Return the rows without those that the graders of Messidor-2 marked as not gradable, and a note on these."""
    column = table.find_column(_GRADABLE)
    if column is None:
        return table.rows, []
    gradable = [row for row in table.rows if row[1][column] not in {"0", "0.0"}]
    left_out = len(table.rows) - len(gradable)
    return gradable, [f"{left_out} images that graders marked as not gradable are left out."] if left_out else []


def _eye_pairs(table: CsvTable, images: Path) -> Mapping[str, str]:
    """Return the group of each image of Messidor-2 by its stem; empty where no list of pairs is near the table."""
    if table.find_column(_GRADABLE) is None:
        return {}
    folders = dict.fromkeys((table.path.parent, images, images.parent))
    path = next((folder / PAIRS for folder in folders if (folder / PAIRS).is_file()), None)
    if path is None:
        return {}
    pairs = read_table(path)
    sides = [pairs.find_column("left"), pairs.find_column("right")]
    if None in sides:
        raise DataError(f"{path} should have the columns left and right; it has {', '.join(map(repr, pairs.columns))}")
    return {
        stem_of(cells[side]): f"pair {line - 1}"
        for line, cells in pairs.rows
        for side in sides
        if side is not None and cells[side]
    }


def _label_row(
    table: CsvTable, columns: ColumnRoles, images: ImageFiles, pairs: Mapping[str, str], row: Row
) -> LabelRow:
    line, cells = row
    name = cells[columns.image]
    if not name:
        raise DataError(f"{table.location(line)}: no image is named in column {columns.image!r}: complete the line")
    for role, column in columns.known.items():
        if "\n" in cells[column]:
            raise DataError(
                f"{table.location(line)}: the {role} in column {column!r} contains a line break: write it on one line, "
                "or correct the quotation marks"
            )
    if not cells[columns.grade]:
        raise DataError(
            f"{table.location(line)}: there is no label in column {columns.grade!r}: complete or remove the line"
        )
    part = "train" if columns.origin is None else cells[columns.origin]
    if part.casefold() not in _ORIGINS:
        raise DataError(f"{table.location(line)}: {columns.origin} {part!r} should be 'train' or 'test'")
    origin = _ORIGINS[part.casefold()]
    stem = stem_of(name)
    if columns.group is None:
        group = eyes_of(stem)
    else:
        group = f"{columns.group} {cells[columns.group]}" if cells[columns.group] else None
    return LabelRow(
        id=f"{origin}/{stem}",
        name=name,
        grade=cells[columns.grade],
        origin=origin,
        folder=images,
        location=table.location(line),
        group=group or pairs.get(stem),
        others=columns.others(cells),
    )
