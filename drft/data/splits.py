"""Split a data set into training, validation and the held-out test set."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from drft.config.trial_config import SplitConfig
from drft.data.dataset import ImageDataset, LabeledImage
from drft.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Split:
    """Ascending indices into ``dataset.images``."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    """The held-out test set: nothing in training, search or selection uses it."""


def stratified_split(dataset: ImageDataset, config: SplitConfig) -> Split:
    """Split the images into training, validation and test, stratified by grade, groups whole.

    The images whose origin is ``test`` are the test part. A training image that shares a group with one
    of them (the same file, the same patient) is in no part. The share of each grade in validation is as close to
    ``config.validation_fraction`` as whole groups allow, where a group of several grades counts as its most frequent
    one. A grade that one group has is in training. A grade that two groups or more have is in both parts, unless
    training would lose another grade by it. With ``config.folds``, validation is one of the ``stratified_folds``.

    Raises:
        DataError: when too few images are left for both parts.
        ConfigError: when ``config.fold`` is None: then each fold validates once, which takes one split for each
            (``config.turns``).
    """
    if config.fold is None:
        raise ConfigError(
            "split.fold is null, which means that each fold validates once: use drft.run_folds, "
            "or name one fold for a single training"
        )
    if config.folds is None:
        train, validation = _random_split(dataset, config)
    else:
        folds = stratified_folds(dataset, config.folds, config.seed)
        validation = folds.pop(config.fold)
        train = _ascending(np.concatenate(folds))
    test = [index for index, image in enumerate(dataset.images) if image.origin == "test"]
    return Split(train, validation, _ascending(test))


def stratified_folds(dataset: ImageDataset, folds: int, seed: int) -> list[NDArray[np.int64]]:
    """Split the training images into folds, stratified by grade, groups whole.

    Every training image is in exactly one fold, except that one that shares a group with a test image is in none.
    Larger groups are assigned first, each to the fold with the fewest images of its grades, relative to the
    frequencies of the grades; to the smallest fold on ties. Where each group has one grade, two folds differ
    in images of a grade by at most the largest group of that grade.

    Args:
        dataset: the images.
        folds: number of folds, at least 2.
        seed: equal seeds give equal folds.

    Returns:
        Ascending indices into ``dataset.images`` for each fold.

    Raises:
        DataError: when there are fewer groups than folds.
    """
    rng = np.random.default_rng(seed)
    strata = sorted(groups_by_grade(dataset.images).items())
    groups = [stratum[index] for _, stratum in strata for index in rng.permutation(len(stratum))]
    if len(groups) < folds:
        raise DataError(
            f"{dataset.name} has too few training images for {folds} folds: each fold needs a group of its own, and "
            f"there are {len(groups)}; images of one group (duplicates, or equal in --group-column) stay together"
        )
    labels, grades = dataset.labels(), len(dataset.grades)
    frequencies = np.bincount(labels[np.concatenate(groups)], minlength=grades).clip(1)
    counts = np.zeros((folds, grades))
    parts: list[list[int]] = [[] for _ in range(folds)]
    for group in sorted(groups, key=len, reverse=True):  # a stable sort keeps grades together and the shuffled order
        added = np.bincount(labels[group], minlength=grades)
        load = counts @ (added / frequencies)
        # Rounded, so that loads that are equal but for the floating-point error count as a tie.
        fold = min(range(folds), key=lambda index: (round(float(load[index]), 9), len(parts[index])))
        counts[fold] += added
        parts[fold].extend(group)
    return [_ascending(part) for part in parts]


def _random_split(dataset: ImageDataset, config: SplitConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices for training and for a random validation part of ``config.validation_fraction``."""
    rng = np.random.default_rng(config.seed)
    strata = [
        [groups[index] for index in rng.permutation(len(groups))]
        for _, groups in sorted(groups_by_grade(dataset.images).items())
    ]
    parts = hold_out_groups(strata, dataset.images, config.validation_fraction)
    train, validation = ([index for group in part for index in group] for part in parts)
    if not train or not validation:
        raise DataError(
            f"{dataset.name} has too few training images to hold some out for validation: "
            "it needs two of one class that are not of one group; images of one group (duplicates, or equal in "
            "--group-column) stay together"
        )
    return _ascending(train), _ascending(validation)


def groups_by_grade(images: Sequence[LabeledImage]) -> dict[int, list[list[int]]]:
    """Return the groups of indices of each grade, without groups that have a test image.

    A group of several grades counts as its most frequent one, the lowest on ties.
    """
    held_out = {image.group for image in images if image.origin == "test"}
    members: dict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        if image.group not in held_out:
            members[image.group].append(index)
    strata: dict[int, list[list[int]]] = defaultdict(list)
    for indices in members.values():
        grades = [images[index].grade for index in indices]
        strata[max(sorted(set(grades)), key=grades.count)].append(indices)
    return strata


def hold_out_groups(
    strata: Iterable[Sequence[list[int]]], images: Sequence[LabeledImage], fraction: float
) -> tuple[list[list[int]], list[list[int]]]:
    """Divide groups of images into those that are kept and those that are held out.

    ``choose_groups`` divides each stratum. It does not see the rarer grades of a group of several grades. So a group
    moves where a grade is in one part only: back to the kept ones for a grade that they lack, and out of them for a
    grade that they do not lose by it.

    Args:
        strata: groups of indices into ``images``, by their most frequent grade, each stratum in random order.
        images: the images.
        fraction: share of the images of each grade that is held out.
    """
    kept: list[list[int]] = []
    held_out: list[list[int]] = []
    for groups in strata:
        chosen = choose_groups(groups, fraction)
        for position, group in enumerate(groups):
            (held_out if position in chosen else kept).append(group)

    def grades(group: Sequence[int]) -> set[int]:
        return {images[index].grade for index in group}

    def found(part: Sequence[Sequence[int]]) -> set[int]:
        return set(chain.from_iterable(map(grades, part)))

    for source, target in ((held_out, kept), (kept, held_out)):
        for grade in sorted(found(source) - found(target)):
            counts = Counter(chain.from_iterable(map(grades, source)))
            lost = [sum(counts[each] == 1 for each in grades(group)) for group in source]
            movable = [index for index, group in enumerate(source) if grade in grades(group)]
            if source is kept:
                movable = [index for index in movable if not lost[index]]
            if movable and len(source) > 1 and grade not in found(target):
                target.append(source.pop(min(movable, key=lambda index: (lost[index], len(source[index])))))
    return kept, held_out


def choose_groups(groups: Sequence[Sequence[int]], fraction: float) -> set[int]:
    """Return the positions of the groups to hold out, chosen in order while each brings them closer to their share.

    At least one group is held out and at least one is not; a single group is not.
    """
    if len(groups) < 2:
        return set()
    wanted = fraction * sum(map(len, groups))
    chosen: set[int] = set()
    size = 0
    for index, group in enumerate(groups):
        closer = abs(size + len(group) - wanted) < abs(size - wanted)
        if closer and len(chosen) < len(groups) - 1:
            chosen.add(index)
            size += len(group)
    return chosen or {min(range(len(groups)), key=lambda index: len(groups[index]))}


def _ascending(indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.sort(np.asarray(indices, dtype=np.int64))
