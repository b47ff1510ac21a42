"""Corrections of labels: images that are left out, and grades that replace those of the source.

A file of corrections is a CSV with a column ``id`` (``train/IDRiD_001``) and, to relabel, ``grade``. One with a column
``decision``, as a report writes its suspect labels, counts where that says ``exclude`` or ``relabel``; the new grade is
then the one in its column ``proposed``.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from drft.data.dataset import Correction, ImageDataset, Origin, fingerprint
from drft.data.datasets.csv_table import CsvTable, read_table
from drft.data.datasets.faults import DataErrors
from drft.data.datasets.listing import Listing, parse_grade
from drft.errors import DataError

Kind = Literal["exclude", "relabel"]

OPTIONS: tuple[Kind, ...] = ("exclude", "relabel")
"""Options that name a file of corrections, for every data source."""

_KEPT = ("", "keep")
_DECISIONS = (*_KEPT, *OPTIONS)


@dataclass(frozen=True, slots=True)
class LabelChanges:
    """What the corrections of one data source come to."""

    excluded: frozenset[str]
    """Ids."""
    grades: Mapping[str, int]
    """New grades, by id."""
    corrections: tuple[Correction, ...]
    notes: tuple[str, ...]


class _Row(NamedTuple):
    id: str
    grade: str
    """Empty where none is asked for."""
    where: str


@dataclass(frozen=True, slots=True)
class _FileCorrections:
    """What one file asks for."""

    kind: Kind
    path: Path
    rows: Sequence[_Row]
    others: int
    """Lines whose decision is the other kind of correction."""


def corrected_listing(listing: Listing, options: Mapping[str, str]) -> Listing:
    """Return what a source claims, with the corrections that ``options`` name.

    Raises:
        DataError: with one line for every fault of their files.
    """
    changes = _changes(options, {line.id: line.origin for line in listing.lines}, listing.grades)
    lines = [line for line in listing.lines if line.id not in changes.excluded]
    return replace(
        listing,
        lines=[
            replace(line, grade=str(changes.grades[line.id])) if line.id in changes.grades else line for line in lines
        ],
        left_out=[*listing.left_out, *(line for line in listing.lines if line.id in changes.excluded)],
        notes=[*listing.notes, *changes.notes],
        corrections=changes.corrections,
    )


def corrected_dataset(dataset: ImageDataset, options: Mapping[str, str]) -> ImageDataset:
    """Return a data set that has no label tables, with the corrections that ``options`` name.

    Raises:
        DataError: with one line for every fault of their files.
    """
    if not set(options) & set(OPTIONS):
        return dataset
    changes = _changes(options, {one.id: one.origin for one in dataset.images}, dataset.grades)
    images = tuple(
        replace(one, grade=changes.grades.get(one.id, one.grade))
        for one in dataset.images
        if one.id not in changes.excluded
    )
    digests = [hashlib.sha256(one.path.read_bytes()).hexdigest() for one in images]
    return replace(
        dataset,
        images=images,
        fingerprint=fingerprint(images, digests),
        notes=(*dataset.notes, *changes.notes),
        corrections=changes.corrections,
    )


def _changes(options: Mapping[str, str], known: Mapping[str, Origin], grades: Sequence[str]) -> LabelChanges:
    """Read the files of corrections and check them against the images there are, by id."""
    faults = DataErrors()
    asked = faults.collect(lambda kind: _asked(kind, Path(options[kind]).expanduser(), faults), _named(options))
    rows = {one.kind: one.rows for one in asked}
    for one in asked:
        faults.add(_unfit(one.rows, known))
    excluded = {row.id for row in rows.get("exclude", ())}
    for row in rows.get("relabel", ()):
        if row.id in excluded:
            faults.add([f"{row.where}: {row.id} is both excluded and relabelled: choose one"])
    new = faults.collect(lambda row: (row.id, _grade(row, grades)), rows.get("relabel", ()))
    faults.lines = list(dict.fromkeys(faults.lines))  # one file may be named for both
    faults.raise_all()
    return LabelChanges(
        excluded=frozenset(excluded),
        grades=dict(new),
        corrections=tuple(Correction(one.kind, one.path.name, _digest(one.path), len(one.rows)) for one in asked),
        notes=tuple(_notes(asked)),
    )


def _named(options: Mapping[str, str]) -> list[Kind]:
    return [kind for kind in OPTIONS if kind in options]


def _asked(kind: Kind, path: Path, faults: DataErrors) -> _FileCorrections:
    table = read_table(path)
    ids, decision = table.named("id"), table.named("decision")
    wanted = "proposed" if decision else "grade"
    grade = table.named(wanted) if kind == "relabel" else None
    there = f"its columns are {', '.join(map(repr, table.columns))}"
    if ids is None:
        raise DataError(f"{path} has no column 'id' that names images; {there}")
    if kind == "relabel" and grade is None:
        raise DataError(f"{path} has no column {wanted!r} with the new grades; {there}")
    decided = [(cells[decision].casefold() if decision else kind) for _, cells in table.rows]
    faults.add(_undecided(table, decided))
    rows = [
        _Row(cells[ids], cells[grade] if grade else "", table.where(line))
        for (line, cells), said in zip(table.rows, decided, strict=True)
        if said == kind
    ]
    return _FileCorrections(kind, path, rows, sum(said not in (*_KEPT, kind) for said in decided))


def _undecided(table: CsvTable, decided: Sequence[str]) -> Iterator[str]:
    for (line, _), said in zip(table.rows, decided, strict=True):
        if said not in _DECISIONS:
            yield f"{table.where(line)}: decision {said!r} should be keep, exclude or relabel, or nothing"


def _unfit(rows: Sequence[_Row], known: Mapping[str, Origin]) -> Iterator[str]:
    """Yield what is wrong with the images that rows name."""
    seen: dict[str, str] = {}
    for row in rows:
        if row.id in seen:
            yield f"{row.where}: {row.id} is named before, in {seen[row.id]}: remove one of the lines"
        elif row.id not in known:
            meant = f"train/{row.id}"
            hint = f" (did you mean {meant!r}?)" if meant in known else ""
            yield f"{row.where}: no image {row.id!r} in the data source{hint}: correct or remove the line"
        elif known[row.id] == "test":
            yield (
                f"{row.where}: {row.id} is a test image, and the test part stays as published: whoever mends it "
                "by what trainings say of it has opened it; remove the line"
            )
        seen.setdefault(row.id, row.where)


def _grade(row: _Row, grades: Sequence[str]) -> int:
    try:
        return parse_grade(row.grade, grades)
    except DataError as error:
        raise DataError(f"{row.where}: {error.faults[0]}") from None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _notes(asked: Sequence[_FileCorrections]) -> Iterator[str]:
    files = [one.path for one in asked]
    for one in asked:
        what = "left out" if one.kind == "exclude" else "graded"
        yield f"{len(one.rows)} training images are {what} as {one.path.name} says (--{one.kind})."
        if one.others and files.count(one.path) == 1:
            other = "relabel" if one.kind == "exclude" else "exclude"
            yield f"{one.others} lines of {one.path.name} say {other}: they count with --{other} alone."
    if any(one.rows for one in asked):
        yield "Figures on corrected labels cannot be compared with figures on the labels as the source gives them."
