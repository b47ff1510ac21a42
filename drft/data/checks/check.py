"""Everything that is checked of a data source, in the order of the report on it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from drft.config.trial_config import SplitConfig
from drft.data.checks.duplicates import DuplicatePair, describe, find_twins
from drft.data.checks.findings import Finding
from drft.data.checks.leaky_columns import telling_columns
from drft.data.checks.read_labels import LabelRow, read_claims
from drft.data.dataset import ImageDataset, LabeledImage
from drft.data.datasets import near_duplicates as near
from drft.data.datasets.audit import grouped, same_bytes
from drft.data.datasets.listing import without_test
from drft.data.datasets.thumbnails import ImageFingerprint, portray
from drft.data.parallel import attempts
from drft.data.progress import Progress, silent
from drft.data.splits import stratified_split
from drft.errors import DataError

_USUAL = 0.9
"""When this share of the files has one size, the others are worth a word."""

_SMALLEST = 64
"""Pixels of the shorter side below which no lesion can be seen."""


@dataclass(frozen=True, slots=True)
class PlannedSplit:
    """The parts that a study would make of the images, by grade."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SourceCheck:
    """What is known of a data source after all checks."""

    source: str
    name: str
    rendered: bool
    listed: int
    """Images that the source names."""
    images: tuple[LabeledImage, ...]
    """Those with a sound file and a grade."""
    files: Mapping[str, Path]
    """All sound files, by id."""
    grades: tuple[str, ...]
    """Names of the grades, 0 first."""
    counts: Mapping[str, tuple[int, ...]]
    """Graded images by origin and grade."""
    sizes: Mapping[str, int]
    """How many files have each size, the most frequent first."""
    twins: tuple[DuplicatePair, ...]
    compared: int
    """Pairs of different files that looked alike at first and were compared in detail."""
    planned: PlannedSplit | None
    findings: tuple[Finding, ...]
    """Defects first."""

    @property
    def defects(self) -> tuple[Finding, ...]:
        """What someone has to mend."""
        return tuple(finding for finding in self.findings if finding.severity == "defect")


def check_source(
    source: str,
    *,
    options: Mapping[str, str] = MappingProxyType({}),
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> SourceCheck:
    """Check a data source and its files; faults are findings, and none ends the check.

    Args:
        source: as for ``open_dataset``, or a folder of images without a label table.
        options: as for ``open_dataset``.
        cache_dir: as for ``open_dataset``.
        progress: told how many files are checked.

    Raises:
        DataError: when there is no such source, or nothing can be made of its tables.
    """
    claimed = read_claims(source, options, cache_dir, progress)
    claims, portraits, broken = _portrayed(claimed.claims, progress or silent)
    twins, compared = find_twins(claims, portraits)
    images = _images(claims, portraits)
    if near.OPTION in options:
        twins = [replace(twin, together=True) for twin in twins]
        images = _together(images, twins)
    counts = ImageDataset(claimed.name, images, "", claimed.grades)
    planned, unplanned = _plan(counts)
    findings = [
        *claimed.findings,
        *broken,
        *_image_findings(claims, portraits),
        *(describe(twin, claimed.grades) for twin in twins),
        *_columns(claims, portraits),
        *_parts(counts),
        *unplanned,
    ]
    return SourceCheck(
        source=source,
        name=claimed.name,
        rendered=claimed.rendered,
        listed=claimed.listed,
        images=images,
        files={claim.id: claim.path for claim in claims},
        grades=claimed.grades,
        counts={"train": counts.counts("train"), "test": counts.counts("test")},
        sizes=dict(Counter(_size(portrait) for portrait in portraits).most_common()),
        twins=tuple(twins),
        compared=compared,
        planned=planned,
        findings=tuple(sorted(findings, key=lambda finding: finding.severity != "defect")),
    )


def _portrayed(
    claims: Sequence[LabelRow], progress: Progress
) -> tuple[list[LabelRow], list[ImageFingerprint], list[Finding]]:
    """Read every file; return the claims whose files are sound, what they look like, and what is wrong elsewhere."""
    sound, portraits, broken = [], [], []
    with attempts(portray, [claim.path for claim in claims], "checking images", progress) as results:
        for claim, result in zip(claims, results, strict=True):
            if isinstance(result, DataError):
                broken.append(_broken(claim, result))
            else:
                sound.append(claim)
                portraits.append(result)
    return sound, portraits, broken


def _broken(claim: LabelRow, error: DataError) -> Finding:
    text = error.faults[0]
    cut = "cut off" in text or "truncated" in text
    return Finding("defect", "truncated file" if cut else "unreadable file", f"{text}.", (claim.id,))


def _images(claims: Sequence[LabelRow], portraits: Sequence[ImageFingerprint]) -> tuple[LabeledImage, ...]:
    """Return the graded images, byte-identical ones in common groups, as a data set has them."""
    graded = [
        (LabeledImage(claim.id, claim.path, claim.grade, claim.origin, claim.group), portrait.digest)
        for claim, portrait in zip(claims, portraits, strict=True)
        if claim.grade is not None
    ]
    images = [image for image, _ in graded]
    return grouped(images, same_bytes(images, [digest for _, digest in graded]))


def _together(images: Sequence[LabeledImage], twins: Sequence[DuplicatePair]) -> tuple[LabeledImage, ...]:
    """Join the groups of images that are one, as a data set does when it is asked to."""
    known = {image.id: image for image in images}
    pairs = [(twin.first, twin.second) for twin in twins if {twin.first, twin.second} <= known.keys()]
    return grouped(images, [[known[first], known[second]] for first, second in pairs])


def _image_findings(claims: Sequence[LabelRow], portraits: Sequence[ImageFingerprint]) -> Iterator[Finding]:
    """Say which images show nothing or have another size than the others."""
    sizes = Counter(portrait.size for portrait in portraits)
    usual, times = sizes.most_common(1)[0] if sizes else ((0, 0), 0)
    for claim, portrait in zip(claims, portraits, strict=True):
        if portrait.is_black:
            yield Finding("defect", "near-black file", f"{claim.path} is all but black: remove its line.", (claim.id,))
        elif portrait.is_flat:
            yield Finding("defect", "blank file", f"{claim.path} shows nothing: remove its line.", (claim.id,))
        if min(portrait.size) < _SMALLEST:
            text = f"{claim.path} has only {_size(portrait)} pixels: replace it or remove its line."
            yield Finding("defect", "wrong size", text, (claim.id,))
        elif portrait.size != usual and times >= _USUAL * len(portraits):
            text = f"{claim.path} has {_size(portrait)} pixels, {times} others have {usual[0]} x {usual[1]}."
            yield Finding("note", "wrong size", text, (claim.id,))


def _columns(claims: Sequence[LabelRow], portraits: Sequence[ImageFingerprint]) -> Iterator[Finding]:
    """Say which columns, and which features of the files, give the grade away."""
    graded = [pair for pair in zip(claims, portraits, strict=True) if pair[0].grade is not None]
    names = dict.fromkeys(name for claim, _ in graded for name in claim.others)
    columns = {f"column {name!r}": [claim.others.get(name, "") for claim, _ in graded] for name in names}
    columns |= {
        "the size of the image": [_size(portrait) for _, portrait in graded],
        "the file format": [portrait.kind for _, portrait in graded],
    }
    grades = [claim.grade for claim, _ in graded if claim.grade is not None]
    for name, share in telling_columns(columns, grades).items():
        why = "it may be derived from the grade" if name.startswith("column") else "a network may learn it instead"
        text = f"{name[0].upper()}{name[1:]} tells the grade of {share:.0%} of the images: {why}."
        yield Finding("note", "gives the grade away", text)


def _parts(dataset: ImageDataset) -> Iterator[Finding]:
    """Say which parts and grades are not there."""
    if not dataset.images:
        return
    yield from (Finding("note", "no test part", note) for note in without_test(dataset.images))
    absent = [name for name, count in zip(dataset.grades, dataset.counts("train"), strict=True) if not count]
    if absent:
        text = f"No training image is graded {' or '.join(absent)}: no network can learn that."
        yield Finding("note", "grade without images", text)


def _plan(dataset: ImageDataset) -> tuple[PlannedSplit | None, list[Finding]]:
    """Divide the images as a study does by default."""
    if not dataset.images:
        return None, []
    try:
        split = stratified_split(dataset, SplitConfig())
    except DataError as error:
        return None, [Finding("defect", "too few images", f"{error.faults[0]}.")]
    labels = dataset.labels()
    parts = [_by_grade(labels[indices], len(dataset.grades)) for indices in (split.train, split.validation, split.test)]
    return PlannedSplit(*parts), []


def _by_grade(labels: NDArray[np.int64], grades: int) -> tuple[int, ...]:
    return tuple(int(count) for count in np.bincount(labels, minlength=grades))


def _size(portrait: ImageFingerprint) -> str:
    return f"{portrait.size[0]} x {portrait.size[1]}"
