"""Hold a test part out of a data set that publishes none: stratified by class, groups whole.

Which images it takes depends on the seed and on the ids, classes and groups of the images, not on their order.
"""

import hashlib
from collections.abc import Sequence
from itertools import chain

from drft.data.dataset import LabeledImage, TestPart
from drft.data.splits import groups_by_grade, hold_out_groups
from drft.errors import DataError

OPTIONS = ("test_fraction", "test_seed")
"""Options of every source that has label tables or folders of classes."""

HAS_TEST_PART = "--test-fraction: the data set has a published test part of {} images: leave the option out"


def hold_out(images: Sequence[LabeledImage], part: TestPart) -> tuple[LabeledImage, ...]:
    """Return the images in the same order, those of the test part with the origin ``test`` and a new id.

    The share of each class is as close to ``part.fraction`` as whole groups allow, where a group of several classes
    counts as its most frequent one. A class of one group stays in training. A class of several groups is in both
    parts, unless training would lose another class by it.

    Raises:
        DataError: when the images have a test part already, or are too few.
    """
    if published := sum(image.origin == "test" for image in images):
        raise DataError(HAS_TEST_PART.format(published))
    strata = []
    for _, groups in sorted(groups_by_grade(images).items()):
        # In the order of digests, which is random, but the same wherever the files are and however they are listed.
        names = [min(images[index].id for index in group) for group in groups]
        order = sorted(range(len(groups)), key=lambda place: _digest(part.seed, names[place]))
        strata.append([groups[place] for place in order])
    _, held_out = hold_out_groups(strata, images, part.fraction)
    chosen = set(chain.from_iterable(held_out))
    if not chosen:
        raise DataError(
            "--test-fraction: too few images for a test part: it needs two of one class that are not of one group; "
            "images of one group (duplicates, or equal in --group-column) stay together"
        )
    return tuple(image.as_test() if index in chosen else image for index, image in enumerate(images))


def _digest(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}\t{name}".encode()).hexdigest()
