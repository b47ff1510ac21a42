"""Images of a source that are one: the same file, or the same image in another file."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from drft.data.checks.findings import Finding
from drft.data.checks.read_labels import LabelRow
from drft.data.datasets.perceptual_hash import find_lookalikes
from drft.data.datasets.thumbnails import ImageFingerprint

SAME_FILE = "the same file"


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two images that are one."""

    first: str
    second: str
    """Ids."""
    how: str
    """``the same file``, or what was done to the image of one."""
    correlation: float
    """Of vessels and lesions in their small images; 1 for the same file."""
    grades: tuple[int | None, int | None]
    across: bool
    """Whether one is of the training and one of the test part."""
    together: bool
    """Whether every split keeps them on one side as things are: they share a file or a group."""
    differing: tuple[str, ...]
    """Other columns of the label table in which their lines differ."""

    @property
    def conflict(self) -> bool:
        """Whether their grades differ."""
        return None not in self.grades and self.grades[0] != self.grades[1]

    @property
    def harmless(self) -> bool:
        """Whether no result suffers from the pair as things are."""
        return self.together and not self.conflict and not self.across


def find_twins(claims: Sequence[LabelRow], portraits: Sequence[ImageFingerprint]) -> tuple[list[DuplicatePair], int]:
    """Find the images that are one.

    Returns:
        The pairs, same files first, and how many pairs of different files were close enough to be compared.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    for place, portrait in enumerate(portraits):
        copies[portrait.digest].append(place)
    twins = [
        _twin(claims[first], claims[other], SAME_FILE, 1.0) for first, *others in copies.values() for other in others
    ]
    shown = [places[0] for places in copies.values() if not _shows_nothing(portraits[places[0]])]
    lookalikes, compared = find_lookalikes(np.array([portraits[place].grey for place in shown]))
    for found in lookalikes:  # of each file and of its copies: one of these may be a test image
        both = (copies[portraits[shown[place]].digest] for place in (found.first, found.second))
        for first, second in product(*both):
            twins.append(_twin(claims[first], claims[second], found.view, found.correlation))
    return twins, compared


def describe(twin: DuplicatePair, grades: Sequence[str]) -> Finding:
    """Say what is wrong with a pair and what to do about it."""
    one, other = (
        f"{name} (grade {grade}, {grades[grade]})" if grade is not None else name
        for name, grade in zip((twin.first, twin.second), twin.grades, strict=True)
    )
    what = "the same file" if twin.how == SAME_FILE else f"the same image, {twin.how}"
    tags = [
        *(["with different grades"] if twin.conflict else []),
        *(["across training and test"] if twin.across else []),
        *([f"with different cells in {', '.join(map(repr, twin.differing))}"] if twin.differing else []),
    ]
    text = "; ".join([f"{one} and {other} are {', '.join([what, *tags])}", *_advice(twin)])
    return Finding("note" if twin.harmless else "defect", _kind(twin), f"{text}.", (twin.first, twin.second))


def _kind(twin: DuplicatePair) -> str:
    if twin.across:
        return "leak into test"
    if twin.conflict:
        return "conflicting grades"
    return "same file" if twin.how == SAME_FILE else "same image"


def _advice(twin: DuplicatePair) -> Iterator[str]:
    if twin.together:
        yield "training leaves out the training one" if twin.across else "every split keeps them on one side"
    else:
        yield "a split may part them: remove the line of one, or use --group-lookalikes"


def _twin(first: LabelRow, second: LabelRow, how: str, correlation: float) -> DuplicatePair:
    return DuplicatePair(
        first=first.id,
        second=second.id,
        how=how,
        correlation=correlation,
        grades=(first.grade, second.grade),
        across=first.origin != second.origin,
        together=how == SAME_FILE or first.group == second.group,
        differing=_differing(first.others, second.others),
    )


def _differing(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name in first if name in second and first[name] != second[name])


def _shows_nothing(portrait: ImageFingerprint) -> bool:
    return portrait.is_black or portrait.is_flat
