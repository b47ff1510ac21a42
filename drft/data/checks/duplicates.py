"""Images of a source that are the same: the same file twice, or the same image in another file."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from drft.data.checks.findings import Finding
from drft.data.checks.read_labels import CheckedRow
from drft.data.datasets.image_fingerprint import ImageFingerprint
from drft.data.datasets.perceptual_hash import find_near_duplicates

SAME_FILE = "the same file"


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two entries of a source that are the same image."""

    first: str
    second: str
    """Ids."""
    how: str
    """``the same file``, or how one of the images was changed."""
    correlation: float
    """Of vessels and lesions in their thumbnails; 1 for the same file."""
    grades: tuple[int | None, int | None]
    across: bool
    """Whether one is in the training and one in the test part."""
    together: bool
    """Whether every split keeps them on one side: they are the same file or in the same group."""
    differing: tuple[str, ...]
    """Other columns of the label table in which their rows differ."""

    @property
    def conflict(self) -> bool:
        """Whether their labels differ."""
        return None not in self.grades and self.grades[0] != self.grades[1]

    @property
    def harmless(self) -> bool:
        """Whether the pair biases no result."""
        return self.together and not self.conflict and not self.across


def find_duplicates(
    rows: Sequence[CheckedRow], fingerprints: Sequence[ImageFingerprint]
) -> tuple[list[DuplicatePair], int]:
    """Find the images that are the same.

    Returns:
        The pairs, same files first, and how many pairs of different files were compared in detail.
    """
    by_digest: dict[str, list[int]] = defaultdict(list)
    for index, fingerprint in enumerate(fingerprints):
        by_digest[fingerprint.digest].append(index)
    pairs = [
        _pair(rows[first], rows[other], SAME_FILE, 1.0) for first, *others in by_digest.values() for other in others
    ]
    files = list(by_digest.values())
    near_duplicates, compared = find_near_duplicates([fingerprints[copies[0]] for copies in files])
    for near in near_duplicates:
        # All copies of both files count: one of the copies may be a test image.
        for first, second in product(files[near.first], files[near.second]):
            pairs.append(_pair(rows[first], rows[second], near.view, near.correlation))
    return pairs, compared


def describe(pair: DuplicatePair, grades: Sequence[str]) -> Finding:
    """Return the finding on a pair: what is wrong and what to do."""
    first, second = (
        f"{name} (class {grades[grade]})" if grade is not None else name
        for name, grade in zip((pair.first, pair.second), pair.grades, strict=True)
    )
    properties = [SAME_FILE if pair.how == SAME_FILE else f"the same image, {pair.how}"]
    if pair.conflict:
        properties.append("with different labels")
    if pair.across:
        properties.append("across training and test")
    if pair.differing:
        properties.append(f"with different cells in {', '.join(map(repr, pair.differing))}")
    if not pair.together:
        advice = "a split may separate them: remove the line of one, or use --group-lookalikes"
    elif pair.across:
        advice = "training leaves out the training one"
    else:
        advice = "every split keeps them on one side"
    text = f"{first} and {second} are {', '.join(properties)}; {advice}."
    return Finding("note" if pair.harmless else "defect", _kind(pair), text, (pair.first, pair.second))


def _kind(pair: DuplicatePair) -> str:
    if pair.across:
        return "leak into test"
    if pair.conflict:
        return "conflicting labels"
    return "same file" if pair.how == SAME_FILE else "same image"


def _pair(first: CheckedRow, second: CheckedRow, how: str, correlation: float) -> DuplicatePair:
    return DuplicatePair(
        first=first.id,
        second=second.id,
        how=how,
        correlation=correlation,
        grades=(first.grade, second.grade),
        across=first.origin != second.origin,
        together=how == SAME_FILE or first.group == second.group,
        differing=tuple(name for name, cell in first.others.items() if second.others.get(name, cell) != cell),
    )
