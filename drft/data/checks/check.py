"""Check a data source: files, duplicates, labels, columns and the size of its parts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from drft.config.trial_config import SplitConfig
from drft.data.checks.duplicates import DuplicatePair, describe, find_duplicates
from drft.data.checks.findings import Finding
from drft.data.checks.leaky_columns import find_leaky_columns
from drft.data.checks.read_labels import CheckedRow, read_labels
from drft.data.dataset import ImageDataset, LabeledImage, TestPart
from drft.data.datasets import near_duplicates
from drft.data.datasets.audit import merge_groups, same_bytes
from drft.data.datasets.classes import ONE_CLASS
from drft.data.datasets.image_fingerprint import ImageFingerprint, fingerprint_image
from drft.data.datasets.labels import missing_test
from drft.data.parallel import attempts
from drft.data.progress import Progress, silent
from drft.data.splits import stratified_split
from drft.data.test_part import hold_out
from drft.errors import DataError

_USUAL = 0.9
"""When this share of the files has the same size, files of other sizes are reported."""

_SMALLEST = 64
"""Pixels of the shorter side below which no lesion can be seen."""


@dataclass(frozen=True, slots=True)
class PlannedSplit:
    """Number of images of each class in the parts that a study makes by default."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SourceCheck:
    """The result of all checks of a data source."""

    source: str
    name: str
    rendered: bool
    named: int
    """Number of images that the source names."""
    images: tuple[LabeledImage, ...]
    """Those with a readable file and a label."""
    files: Mapping[str, Path]
    """All readable files, by id."""
    grades: tuple[str, ...]
    """Names of the classes, 0 first."""
    ordinal: bool
    """Whether the classes are ordered."""
    columns: Mapping[str, str]
    """The columns of a label table by role: ``image``, ``label``, ``group``, ``part``; empty without a table."""
    counts: Mapping[str, tuple[int, ...]]
    """Labelled images by origin, as published, and class."""
    sizes: Mapping[str, int]
    """Number of files of each size, the most frequent first."""
    duplicates: tuple[DuplicatePair, ...]
    compared: int
    """Pairs of different files that had similar hashes and were compared in detail."""
    planned: PlannedSplit | None
    findings: tuple[Finding, ...]
    """Defects first."""

    @property
    def defects(self) -> tuple[Finding, ...]:
        """Findings that the user has to fix."""
        return tuple(finding for finding in self.findings if finding.severity == "defect")


def check_source(
    source: str,
    *,
    options: Mapping[str, str] = MappingProxyType({}),
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> SourceCheck:
    """Check a data source and its files; faults become findings, and none ends the check.

    Args:
        source: as for ``open_dataset``, or a folder of images without a label table.
        options: as for ``open_dataset``.
        cache_dir: as for ``open_dataset``.
        progress: called with the number of checked files.

    Raises:
        DataError: when there is no such source, or its tables cannot be read at all.
    """
    labels = read_labels(source, options, cache_dir, progress)
    rows, fingerprints, unreadable = _fingerprint_files(labels.rows, progress or silent)
    duplicates, compared = find_duplicates(rows, fingerprints)
    images = _labelled_images(rows, fingerprints)
    if near_duplicates.OPTION in options:
        duplicates = [replace(pair, together=True) for pair in duplicates]
        known = {image.id: image for image in images}
        pairs = [(pair.first, pair.second) for pair in duplicates if {pair.first, pair.second} <= known.keys()]
        images = merge_groups(images, [[known[first], known[second]] for first, second in pairs])
    dataset = ImageDataset(labels.name, images, "", labels.grades, labels.ordinal)
    planned, split_findings = _plan_split(dataset, labels.test_part)
    findings = [
        *labels.findings,
        *unreadable,
        *_image_findings(rows, fingerprints),
        *(describe(pair, labels.grades) for pair in duplicates),
        *_column_findings(rows, fingerprints),
        *_class_findings(dataset),
        *([] if labels.test_part else (Finding("note", "no test part", note) for note in missing_test(images))),
        *split_findings,
    ]
    return SourceCheck(
        source=source,
        name=labels.name,
        rendered=labels.rendered,
        named=labels.named,
        images=images,
        files={row.id: row.path for row in rows},
        grades=labels.grades,
        ordinal=labels.ordinal,
        columns=labels.columns,
        counts={"train": dataset.counts("train"), "test": dataset.counts("test")},
        sizes=dict(Counter(_format_size(fingerprint) for fingerprint in fingerprints).most_common()),
        duplicates=tuple(duplicates),
        compared=compared,
        planned=planned,
        findings=tuple(sorted(findings, key=lambda finding: finding.severity != "defect")),
    )


def _fingerprint_files(
    rows: Sequence[CheckedRow], progress: Progress
) -> tuple[list[CheckedRow], list[ImageFingerprint], list[Finding]]:
    """Decode every file; return the rows with readable files, their fingerprints, and findings on the others."""
    readable, fingerprints, findings = [], [], []
    with attempts(fingerprint_image, [row.path for row in rows], "checking images", progress) as results:
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, DataError):
                text = result.faults[0]
                kind = "truncated file" if "cut off" in text or "truncated" in text else "unreadable file"
                findings.append(Finding("defect", kind, f"{text}.", (row.id,)))
            else:
                readable.append(row)
                fingerprints.append(result)
    return readable, fingerprints, findings


def _labelled_images(rows: Sequence[CheckedRow], fingerprints: Sequence[ImageFingerprint]) -> tuple[LabeledImage, ...]:
    """Return the images that have a label, with files of the same bytes in common groups as in a data set."""
    images, digests = [], []
    for row, fingerprint in zip(rows, fingerprints, strict=True):
        if row.grade is not None:
            images.append(LabeledImage(row.id, row.path, row.grade, row.origin, row.group))
            digests.append(fingerprint.digest)
    return merge_groups(images, same_bytes(images, digests))


def _image_findings(rows: Sequence[CheckedRow], fingerprints: Sequence[ImageFingerprint]) -> Iterator[Finding]:
    """Yield a finding for each image that is black or blank or has an unusual size."""
    sizes = Counter(fingerprint.size for fingerprint in fingerprints)
    usual, times = sizes.most_common(1)[0] if sizes else ((0, 0), 0)
    for row, fingerprint in zip(rows, fingerprints, strict=True):
        if fingerprint.is_black:
            yield Finding("defect", "near-black file", f"{row.path} is almost black: remove its line.", (row.id,))
        elif fingerprint.is_flat:
            yield Finding("defect", "blank file", f"{row.path} shows nothing: remove its line.", (row.id,))
        if min(fingerprint.size) < _SMALLEST:
            text = f"{row.path} has only {_format_size(fingerprint)} pixels: replace it or remove its line."
            yield Finding("defect", "wrong size", text, (row.id,))
        elif fingerprint.size != usual and times >= _USUAL * len(fingerprints):
            text = f"{row.path} has {_format_size(fingerprint)} pixels, {times} others have {usual[0]} x {usual[1]}."
            yield Finding("note", "wrong size", text, (row.id,))


def _column_findings(rows: Sequence[CheckedRow], fingerprints: Sequence[ImageFingerprint]) -> Iterator[Finding]:
    """Yield a finding for each column, and each property of the files, that reveals the class."""
    graded = [(row, fingerprint) for row, fingerprint in zip(rows, fingerprints, strict=True) if row.grade is not None]
    names = dict.fromkeys(name for row, _ in graded for name in row.others)
    columns = {f"column {name!r}": [row.others.get(name, "") for row, _ in graded] for name in names}
    columns |= {
        "the size of the image": [_format_size(fingerprint) for _, fingerprint in graded],
        "the file format": [fingerprint.file_format for _, fingerprint in graded],
    }
    grades = [row.grade for row, _ in graded if row.grade is not None]
    for name, share in find_leaky_columns(columns, grades).items():
        why = "it may be derived from the label" if name.startswith("column") else "a network may learn it instead"
        text = f"{name[0].upper()}{name[1:]} reveals the class of {share:.0%} of the images: {why}."
        yield Finding("note", "gives the class away", text)


def _class_findings(dataset: ImageDataset) -> Iterator[Finding]:
    """Yield a finding for classes that may be grades, and for classes without or with a single training image."""
    if not dataset.images:
        return
    if not dataset.ordinal and all(name.isdecimal() for name in dataset.grades):
        text = f"The classes {', '.join(dataset.grades)} are not ordered: add --ordinal if they are grades."
        yield Finding("note", "order of classes", text)
    counts = dict(zip(dataset.grades, dataset.counts("train"), strict=True))
    if len(counts) < 2:
        yield Finding("defect", "one class", f"{ONE_CLASS.format(dataset.name, *dataset.grades)}.")
    absent = [name for name, count in counts.items() if not count]
    if absent:
        text = f"No training image is of class {' or '.join(absent)}: no network can learn that."
        yield Finding("note", "class without images", text)
    single = [name for name, count in counts.items() if count == 1]
    if single:
        text = f"One training image only is of class {' and '.join(single)}: check the spelling of its label."
        yield Finding("note", "class with one image", text)


def _plan_split(dataset: ImageDataset, test_part: TestPart | None) -> tuple[PlannedSplit | None, list[Finding]]:
    """Return the default split of a study, or None and a finding when there are too few images."""
    if not dataset.images:
        return None, []
    try:
        if test_part is not None:
            dataset = replace(dataset, images=hold_out(dataset.images, test_part))
        split = stratified_split(dataset, SplitConfig())
    except DataError as error:
        return None, [Finding("defect", "too few images", f"{error.faults[0]}.")]
    labels = dataset.labels()
    parts = (split.train, split.validation, split.test)
    counts = (np.bincount(labels[part], minlength=len(dataset.grades)).tolist() for part in parts)
    return PlannedSplit(*map(tuple, counts)), []


def _format_size(fingerprint: ImageFingerprint) -> str:
    return f"{fingerprint.size[0]} x {fingerprint.size[1]}"
