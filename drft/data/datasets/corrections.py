"""Corrections of labels: images that are excluded, and labels that replace those of the source.

A file of corrections is a CSV with a column ``id`` (``train/IDRiD_001``) and, to relabel, ``label`` or ``grade``. The
suspect labels in a report have a column ``decision`` too: then only rows with ``exclude`` or ``relabel`` in it count,
and the column ``proposed`` has the new label.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from drft.data.dataset import Correction, ImageDataset, Origin, fingerprint
from drft.data.datasets.classes import parse_class
from drft.data.datasets.csv_table import read_table
from drft.data.datasets.faults import DataErrors
from drft.data.datasets.labels import SourceLabels
from drft.errors import DataError
from drft.files.csv_cells import text_of_cell
from drft.files.digests import file_digest
from drft.files.home import expand_home

Kind = Literal["exclude", "relabel"]

OPTIONS: tuple[Kind, ...] = ("exclude", "relabel")
"""Options that name a file of corrections, for every data source."""

_UNCHANGED = ("", "keep")
"""Decisions that change nothing."""


@dataclass(frozen=True, slots=True)
class LabelChanges:
    """All corrections of one data source."""

    excluded: frozenset[str]
    """Ids."""
    grades: Mapping[str, int]
    """New grades, by id."""
    corrections: tuple[Correction, ...]
    notes: tuple[str, ...]


class _Row(NamedTuple):
    id: str
    grade: str
    """Empty where the row excludes an image."""
    location: str


@dataclass(frozen=True, slots=True)
class _CorrectionFile:
    """The corrections of one kind in one file."""

    kind: Kind
    path: Path
    rows: Sequence[_Row]
    others: int
    """Lines with a correction of the other kind."""


def correct_labels(labels: SourceLabels, options: Mapping[str, str]) -> SourceLabels:
    """Return the labels of a source with the corrections that ``options`` name.

    Raises:
        DataError: with one line for every fault in the files of corrections.
    """
    changes = _read_changes(options, {row.id: row.origin for row in labels.rows}, labels.grades)
    rows = [
        replace(row, relabelled=labels.grades[changes.grades[row.id]]) if row.id in changes.grades else row
        for row in labels.rows
        if row.id not in changes.excluded
    ]
    return replace(
        labels,
        rows=rows,
        left_out=[*labels.left_out, *(row for row in labels.rows if row.id in changes.excluded)],
        notes=[*labels.notes, *changes.notes],
        corrections=changes.corrections,
    )


def correct_dataset(dataset: ImageDataset, options: Mapping[str, str]) -> ImageDataset:
    """Return a data set that has no label tables with the corrections that ``options`` name.

    Raises:
        DataError: with one line for every fault in the files of corrections.
    """
    if not set(options) & set(OPTIONS):
        return dataset
    changes = _read_changes(options, {image.id: image.origin for image in dataset.images}, dataset.grades)
    images = tuple(
        replace(image, grade=changes.grades.get(image.id, image.grade))
        for image in dataset.images
        if image.id not in changes.excluded
    )
    return replace(
        dataset,
        images=images,
        fingerprint=fingerprint(images, [file_digest(image.path) for image in images]),
        notes=(*dataset.notes, *changes.notes),
        corrections=changes.corrections,
    )


def _read_changes(options: Mapping[str, str], origins: Mapping[str, Origin], grades: Sequence[str]) -> LabelChanges:
    """Read the files of corrections and check them against the images of the source, given by id and origin."""
    faults = DataErrors()
    kinds = [kind for kind in OPTIONS if kind in options]
    files = faults.collect(lambda kind: _read_file(kind, expand_home(options[kind]), origins, faults), kinds)
    rows = {file.kind: file.rows for file in files}
    for file in files:
        faults.add(_wrong_images(file.rows, origins))
    excluded = {row.id for row in rows.get("exclude", ())}
    relabelled = rows.get("relabel", ())
    for row in relabelled:
        if row.id in excluded:
            faults.add([f"{row.location}: {row.id} is both excluded and relabelled: choose one"])
    new_grades = faults.collect(lambda row: (row.id, _parse_grade(row, grades)), relabelled)
    faults.lines = list(dict.fromkeys(faults.lines))  # both options may name the same file, with the same faults
    faults.raise_all()
    return LabelChanges(
        excluded=frozenset(excluded),
        grades=dict(new_grades),
        corrections=tuple(
            Correction(file.kind, file.path.name, file_digest(file.path), len(file.rows)) for file in files
        ),
        notes=tuple(_notes(files)),
    )


def _read_file(kind: Kind, path: Path, known: Container[str], faults: DataErrors) -> _CorrectionFile:
    """Read the corrections of one kind; unknown decisions and lost rows of known images are added to ``faults``."""
    table = read_table(path)
    id_column, decision_column = table.find_column("id"), table.find_column("decision")
    names = ("proposed",) if decision_column else ("label", "grade")
    found = [column for column in map(table.find_column, names) if column is not None] if kind == "relabel" else []
    columns = f"its columns are {', '.join(map(repr, table.columns))}"
    if id_column is None:
        raise DataError(f"{path} has no column 'id' that names images; {columns}")
    if kind == "relabel" and len(found) != 1:
        fault = (
            "columns 'label' and 'grade': keep one of them" if found else f"no column {names[0]!r} with the new labels"
        )
        raise DataError(f"{path} has {fault}; {columns}")
    faults.add(table.lost_rows(id_column, lambda cell: id_ if (id_ := text_of_cell(cell)) in known else None))
    rows, others = [], 0
    for line, cells in table.rows:
        decision = cells[decision_column].casefold() if decision_column else kind
        location = table.location(line)
        if decision == kind:
            rows.append(_Row(text_of_cell(cells[id_column]), cells[found[0]] if found else "", location))
        elif decision in OPTIONS:
            others += 1
        elif decision not in _UNCHANGED:
            faults.add([f"{location}: decision {decision!r} should be keep, exclude or relabel, or nothing"])
    return _CorrectionFile(kind, path, rows, others)


def _wrong_images(rows: Sequence[_Row], origins: Mapping[str, Origin]) -> Iterator[str]:
    """Yield one sentence for each row whose image is unknown, repeated or a test image."""
    seen: dict[str, str] = {}
    for row in rows:
        if row.id in seen:
            yield f"{row.location}: {row.id} is named before, in {seen[row.id]}: remove one of the lines"
        elif row.id not in origins:
            meant = f"train/{row.id}"
            hint = f" (did you mean {meant!r}?)" if meant in origins else ""
            yield f"{row.location}: no image {row.id!r} in the data source{hint}: correct or remove the line"
        elif origins[row.id] == "test":
            yield (
                f"{row.location}: {row.id} is a test image, and the test part stays as published: "
                "corrections that rely on trainings would bias its scores; remove the line"
            )
        seen.setdefault(row.id, row.location)


def _parse_grade(row: _Row, grades: Sequence[str]) -> int:
    try:
        return parse_class(row.grade, grades)
    except DataError as error:
        raise DataError(f"{row.location}: {error.faults[0]}") from None


def _notes(files: Sequence[_CorrectionFile]) -> Iterator[str]:
    paths = [file.path for file in files]
    for file in files:
        action = "left out" if file.kind == "exclude" else "relabelled"
        images = "1 training image is" if len(file.rows) == 1 else f"{len(file.rows)} training images are"
        yield f"{images} {action} as listed in {file.path.name} (--{file.kind})."
        if file.others and paths.count(file.path) == 1:
            other = "relabel" if file.kind == "exclude" else "exclude"
            lines = "1 line" if file.others == 1 else f"{file.others} lines"
            yield f"The decision {other} in {lines} of {file.path.name} counts only with --{other}."
    if any(file.rows for file in files):
        yield "Figures on corrected labels cannot be compared with figures on the original labels of the source."
