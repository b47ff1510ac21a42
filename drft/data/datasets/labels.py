"""Build a data set from the labels of a data source: check every row, and report every fault."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from drft.data.dataset import GRADES, Correction, ImageDataset, LabeledImage, Origin, fingerprint
from drft.data.datasets.audit import audit_files, merge_groups
from drft.data.datasets.faults import DataErrors
from drft.data.datasets.files import ImageFiles
from drft.data.datasets.near_duplicates import near_duplicate_pairs, pair_notes
from drft.data.progress import Progress
from drft.errors import DataError

GRADE_WORDS: Mapping[str, int] = {
    "no dr": 0, "nodr": 0, "no": 0, "normal": 0, "mild": 1, "moderate": 2, "severe": 3,
    "proliferative": 4, "proliferate": 4, "proliferative dr": 4, "proliferate dr": 4, "pdr": 4,
}  # fmt: skip
"""Usual names of the five grades, as ``words_of`` writes them."""

_WHOLE_NUMBER = re.compile(r"(\d)(\.0*)?")


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The label of one image as the source gives it, not checked yet."""

    id: str
    """Origin and name without suffix."""
    name: str
    """The name of the image in the table."""
    grade: str
    origin: Origin
    folder: ImageFiles
    location: str
    """Table and line, for messages."""
    group: str | None = None
    """Images of one group stay together, such as those of a patient; None for an image alone."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Cells of all other columns; no training uses them, but a check compares them."""


@dataclass(frozen=True, slots=True)
class SourceLabels:
    """All labels of one data source, not checked yet."""

    name: str
    """Name of the data set."""
    rows: Sequence[LabelRow]
    notes: Sequence[str] = ()
    faults: Sequence[str] = ()
    """Faults of rows that are not usable, one sentence each."""
    grades: tuple[str, ...] = GRADES
    """Names of the grades, 0 first."""
    left_out: Sequence[LabelRow] = ()
    """Rows that are left out on purpose."""
    corrections: tuple[Correction, ...] = ()
    group_near_duplicates: bool = False
    """Whether the same image in different files is one group."""


def build_dataset(labels: SourceLabels, progress: Progress, cache_dir: Path | None = None) -> ImageDataset:
    """Check every row and every file and build the data set.

    Raises:
        DataError: with one line for each wrong grade or name, each repeated id and each missing or unreadable file.
    """
    faults = DataErrors()
    faults.add(labels.faults)
    images = faults.collect(partial(_labeled_image, grades=labels.grades), labels.rows)
    faults.add(repeated_rows(labels.rows))
    audit = audit_files(images, faults, progress, cache_dir)
    faults.raise_all()
    pairs = []
    if labels.group_near_duplicates:
        pairs = near_duplicate_pairs(audit.images, audit.digests, progress, cache_dir)
    return ImageDataset(
        name=labels.name,
        images=merge_groups(audit.images, pairs),
        fingerprint=fingerprint(audit.images, audit.digests),
        grades=labels.grades,
        notes=(
            *labels.notes,
            *unused_images(labels, {image.path for image in images}),
            *links_elsewhere(labels),
            *missing_test(images),
            *audit.notes,
            *pair_notes(pairs),
        ),
        corrections=labels.corrections,
    )


def parse_grade(text: str, grades: Sequence[str] = GRADES) -> int:
    """Return a grade, by default of the international scale: a number, or a usual name such as ``Proliferate_DR``.

    Raises:
        DataError: when the text is neither a whole number from 0 to the last grade nor the name of a grade.
    """
    number = _WHOLE_NUMBER.fullmatch(text)
    if number is not None and int(number[1]) < len(grades):
        return int(number[1])
    names = {words_of(name): position for position, name in enumerate(grades)}
    known = {**GRADE_WORDS, **names} if tuple(grades) == GRADES else names
    if words_of(text) in known:
        return known[words_of(text)]
    raise DataError(
        f"grade {text!r} should be a whole number from 0 to {len(grades) - 1}, or the name of a grade: correct the line"
    )


def words_of(name: str) -> str:
    """Return the letters and digits of a name in lower case, with blanks between words."""
    return re.sub(r"[^a-z0-9]+", " ", name.casefold()).strip()


def _labeled_image(row: LabelRow, grades: Sequence[str]) -> LabeledImage:
    faults = DataErrors()
    path = faults.collect(row.folder.find, [row.name])
    grade = faults.collect(partial(parse_grade, grades=grades), [row.grade])
    if faults.lines:
        raise DataError(f"{row.location}: {fault}" for fault in faults.lines)
    return LabeledImage(row.id, path[0], grade[0], row.origin, row.group or row.id)


def repeated_rows(rows: Sequence[LabelRow]) -> Iterator[str]:
    """Yield one sentence for each row that names an image again."""
    for first, second in pairwise(sorted(rows, key=lambda row: row.id)):
        if first.id == second.id:
            yield f"{second.location}: {second.name!r} is listed before, in {first.location}: remove one of the lines"


def unused_images(labels: SourceLabels, used: set[Path]) -> Iterator[str]:
    """Yield one sentence for each folder with images that no row names."""
    left_out = DataErrors().collect(lambda row: row.folder.find(row.name), labels.left_out)
    known = used.union(left_out)
    for folder in {row.folder.path: row.folder for row in labels.rows}.values():
        if count := sum(file not in known for file in folder.files):
            yield f"{count} images in {folder.path.name} have no line in the label table and are not used."


def links_elsewhere(labels: SourceLabels) -> Iterator[str]:
    """Yield one sentence for each folder with links to folders outside it."""
    for folder in {row.folder.path: row.folder for row in labels.rows}.values():
        if folder.links:
            names = ", ".join(str(link) for link in folder.links[:3])
            yield (
                f"{len(folder.links)} links in {folder.path.name} lead to folders elsewhere and are not followed "
                f"({names}): put these folders there to use their images."
            )


def missing_test(images: Sequence[LabeledImage]) -> Iterator[str]:
    """Yield one sentence when there is no test part."""
    if all(image.origin == "train" for image in images):
        yield "The source names no test images, so nothing is held out for a final test."
