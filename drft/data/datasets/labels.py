"""Build a data set from the labels of a data source: check every row, and report every fault."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

from drft.data.dataset import (
    GRADES,
    Correction,
    ImageDataset,
    LabeledImage,
    Origin,
    TestPart,
    fingerprint,
    fingerprint_of_test,
)
from drft.data.datasets.audit import audit_files, merge_groups, same_bytes
from drft.data.datasets.classes import FORMER, find_classes, former_classes, parse_class
from drft.data.datasets.faults import DataErrors
from drft.data.datasets.files import ImageFiles, stem_of
from drft.data.datasets.near_duplicates import near_duplicate_pairs, pair_notes
from drft.data.progress import Progress
from drft.data.test_part import hold_out
from drft.errors import DataError


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
    relabelled: str | None = None
    """The label that a correction has put in place of ``grade``; None without one."""


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
    """Names of the classes, 0 first; empty as long as they have to be found in the labels."""
    ordinal: bool = True
    """Whether the classes are ordered."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The columns of a table that hold images, labels, groups and parts, by role."""
    left_out: Sequence[LabelRow] = ()
    """Rows that are left out on purpose."""
    corrections: tuple[Correction, ...] = ()
    group_near_duplicates: bool = False
    """Whether the same image in different files is one group."""
    test_part: TestPart | None = None
    """The test part to hold out of a source that has none."""
    label_version: str = ""
    """Which labels these are, if there are two versions of them; else empty."""


def with_classes(labels: SourceLabels, options: Mapping[str, str]) -> SourceLabels:
    """Return labels whose classes are known: those of the data set, or those that are found in the labels.

    A table that looks like one of retinopathy may be another one, so ``classes`` overrides its grades.

    Raises:
        DataError: when the classes cannot be found, or an option does not apply.
    """
    if labels.grades and not ("classes" in options and labels.columns):
        if "classes" in options:
            raise DataError(f"--classes does not apply to {labels.name}: its classes are {', '.join(labels.grades)}")
        return labels
    texts = [row.grade for row in labels.rows]
    if not texts:  # no line can be used: the faults of all lines are named, not that there are no classes
        return replace(labels, grades=GRADES)
    if options.get("label_rules") == FORMER:
        classes = former_classes(texts, folders=not labels.columns)
    else:
        classes = find_classes(texts, options, labels.name)
    return replace(labels, grades=classes.names, ordinal=classes.ordinal)


def build_dataset(labels: SourceLabels, progress: Progress, cache_dir: Path | None = None) -> ImageDataset:
    """Check every row and every file and build the data set.

    Raises:
        DataError: with one line for each wrong label or name, each repeated id and each missing or unreadable file.
    """
    faults = DataErrors()
    faults.add(labels.faults)
    images = faults.collect(partial(_labeled_image, classes=labels.grades), labels.rows)
    faults.add(repeated_rows(labels.rows))
    audit = audit_files(images, labels.grades, faults, progress, cache_dir)
    faults.raise_all()
    pairs = []
    if labels.group_near_duplicates:
        pairs = near_duplicate_pairs(audit.images, audit.digests, progress, cache_dir)
    grouped = merge_groups(audit.images, pairs)
    if labels.test_part is not None:
        grouped = _hold_out_test(labels, grouped, audit.digests, progress, cache_dir)
    return ImageDataset(
        name=labels.name,
        images=grouped,
        fingerprint=fingerprint(grouped, audit.digests),
        grades=labels.grades,
        label_version=labels.label_version,
        ordinal=labels.ordinal,
        notes=(
            *labels.notes,
            *unused_images(labels, {image.path for image in images}),
            *links_elsewhere(labels),
            *([str(labels.test_part)] if labels.test_part else missing_test(images)),
            *audit.notes,
            *pair_notes(pairs, labels.grades),
        ),
        corrections=labels.corrections,
        test_part=labels.test_part,
        test_fingerprint=fingerprint_of_test(grouped, audit.digests),
    )


def _hold_out_test(
    labels: SourceLabels,
    images: tuple[LabeledImage, ...],
    digests: Sequence[str],
    progress: Progress,
    cache_dir: Path | None,
) -> tuple[LabeledImage, ...]:
    """Return the images with a test part, which does not depend on corrections of labels.

    So a study on corrected labels has the test images of the study before, whose trainings the corrections rely on.

    Raises:
        DataError: when no test part can be held out, or a correction names an image of it.
    """
    assert labels.test_part is not None
    corrected = {row.id: row for row in labels.rows if row.relabelled is not None}
    excluded = DataErrors().collect(partial(_labeled_image, classes=labels.grades), labels.left_out)
    audit = audit_files(excluded, labels.grades, DataErrors(), progress, cache_dir)
    as_published = []
    for image in images:
        label = corrected[image.id].grade if image.id in corrected else ""
        # A label that only its correction makes readable counts as corrected: without it, no study ran on these images.
        found = DataErrors().collect(partial(parse_class, classes=labels.grades), [label] if label else [])
        as_published.append(replace(image, grade=found[0]) if found else image)
    everything, all_digests = [*as_published, *audit.images], [*digests, *audit.digests]
    pairs: list[tuple[LabeledImage, LabeledImage]] = []
    if labels.group_near_duplicates and audit.images:
        # Where an excluded image cannot be decoded, no study ran with it: there is no test part to keep.
        with contextlib.suppress(DataError):
            pairs = near_duplicate_pairs(everything, all_digests, progress, cache_dir)
    groups = merge_groups(everything, [*same_bytes(everything, all_digests), *pairs])
    held_out = {
        old.id for old, new in zip(everything, hold_out(groups, labels.test_part), strict=True) if new.origin == "test"
    }
    wrong = sorted(held_out & (corrected.keys() | {image.id for image in audit.images}))
    if wrong:
        raise DataError(
            f"{name} is a test image of --test-fraction, and the test part stays as it is: remove its line from the "
            "corrections"
            for name in wrong
        )
    return tuple(image.as_test() if image.id in held_out else image for image in images)


def _labeled_image(row: LabelRow, classes: Sequence[str]) -> LabeledImage:
    faults = DataErrors()
    path = faults.collect(row.folder.find, [row.name])
    grade = faults.collect(
        partial(parse_class, classes=classes), [row.grade if row.relabelled is None else row.relabelled]
    )
    if faults.lines:
        raise DataError(f"{row.location}: {fault}" for fault in faults.lines)
    return LabeledImage(row.id, path[0], grade[0], row.origin, row.group or row.id)


def repeated_rows(rows: Sequence[LabelRow]) -> Iterator[str]:
    """Yield one sentence for each row that names an image again."""
    for first, second in pairwise(sorted(rows, key=lambda row: row.id)):
        if first.id != second.id:
            continue
        if second.location == second.name:  # the label is the name of a folder, and there is no line to remove
            what = "name without its ending" if stem_of(first.name) == stem_of(second.name) else "part, class and name"
            yield f"{first.name} and {second.name} have the same {what}: rename one of them"
        else:
            yield f"{second.location}: {second.name!r} is listed before, in {first.location}: remove one of the lines"
    listed: dict[Path, LabelRow] = {}
    for path, row in DataErrors().collect(lambda row: (row.folder.find(row.name), row), rows):
        first = listed.setdefault(path, row)
        if first.id != row.id:
            same = f"{row.name!r} is the same file as {first.name!r} in {first.location}"
            yield f"{row.location}: {same}: remove one of the lines"


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
        yield (
            "The source names no test images, so nothing is held out for a final test: a new study with "
            "--test-fraction 0.2 holds some out."
        )
