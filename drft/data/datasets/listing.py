"""From the lines of label tables to a data set: every claim is checked, every fault is named."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from drft.data.dataset import GRADES, Correction, ImageDataset, LabeledImage, Origin, fingerprint
from drft.data.datasets.audit import audit_files, grouped
from drft.data.datasets.faults import DataErrors
from drft.data.datasets.files import ImageFiles
from drft.data.datasets.near_duplicates import lookalike_pairs, pair_notes
from drft.data.progress import Progress
from drft.errors import DataError

_WHOLE_NUMBER = re.compile(r"(\d)(\.0*)?")


@dataclass(frozen=True, slots=True)
class ListedImage:
    """What one line of a label table claims, before anything of it is believed."""

    id: str
    """Origin and name without suffix."""
    name: str
    """The image, as the table calls it."""
    grade: str
    origin: Origin
    folder: ImageFiles
    where: str
    """Table and line, for messages."""
    group: str | None = None
    """What keeps images together, such as a patient; None for an image on its own."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Cells of the columns that say none of these: nothing is trained on them, but a check compares them."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What the label tables of one data source claim."""

    name: str
    """Name of the data set that it makes."""
    lines: Sequence[ListedImage]
    notes: Sequence[str] = ()
    faults: Sequence[str] = ()
    """Lines that say nothing usable, one sentence each."""
    grades: tuple[str, ...] = GRADES
    """Names of the grades, 0 first."""
    left_out: Sequence[ListedImage] = ()
    """Lines whose images are left out on purpose."""
    corrections: tuple[Correction, ...] = ()
    lookalikes: bool = False
    """Whether images that occur twice in different files are one group."""


def dataset_of(listing: Listing, progress: Progress, cache_dir: Path | None = None) -> ImageDataset:
    """Check every line and every file and build the data set.

    Raises:
        DataError: with one line for each bad grade, name, repeated id and missing or unreadable file.
    """
    faults = DataErrors()
    faults.add(listing.faults)
    images = faults.collect(partial(_image, grades=listing.grades), listing.lines)
    faults.add(repeated(listing.lines))
    audit = audit_files(images, faults, progress, cache_dir)
    faults.raise_all()
    pairs = lookalike_pairs(audit.images, audit.digests, progress, cache_dir) if listing.lookalikes else []
    return ImageDataset(
        name=listing.name,
        images=grouped(audit.images, pairs),
        fingerprint=fingerprint(audit.images, audit.digests),
        grades=listing.grades,
        notes=(
            *listing.notes,
            *unlisted(listing, {image.path for image in images}),
            *without_test(images),
            *audit.notes,
            *pair_notes(pairs),
        ),
        corrections=listing.corrections,
    )


def parse_grade(text: str, grades: Sequence[str] = GRADES) -> int:
    """Return a grade, by default of the international scale.

    Raises:
        DataError: when the text is no whole number from 0 to that of the last grade.
    """
    number = _WHOLE_NUMBER.fullmatch(text)
    if number is None or int(number[1]) >= len(grades):
        raise DataError(f"grade {text!r} should be a whole number from 0 to {len(grades) - 1}: correct the line")
    return int(number[1])


def _image(line: ListedImage, grades: Sequence[str]) -> LabeledImage:
    faults = DataErrors()
    path = faults.collect(line.folder.find, [line.name])
    grade = faults.collect(partial(parse_grade, grades=grades), [line.grade])
    if faults.lines:
        raise DataError(f"{line.where}: {fault}" for fault in faults.lines)
    return LabeledImage(line.id, path[0], grade[0], line.origin, line.group or line.id)


def repeated(listed: Sequence[ListedImage]) -> Iterator[str]:
    """Yield one sentence for each line that names an image again."""
    for first, second in pairwise(sorted(listed, key=lambda line: line.id)):
        if first.id == second.id:
            yield f"{second.where}: {second.name!r} is listed before, in {first.where}: remove one of the lines"


def unlisted(listing: Listing, used: set[Path]) -> Iterator[str]:
    """Yield one sentence for each folder with images that are not used."""
    left_out = DataErrors().collect(lambda line: line.folder.find(line.name), listing.left_out)
    for folder in {line.folder.path: line.folder for line in listing.lines}.values():
        if count := folder.unlisted(used | set(left_out)):
            yield f"{count} images in {folder.path.name} have no line in the label table and are not used."


def without_test(images: Sequence[LabeledImage]) -> Iterator[str]:
    """Yield one sentence when there is no test part."""
    if all(image.origin == "train" for image in images):
        yield "The source names no test images, so nothing is held back for a final test."
