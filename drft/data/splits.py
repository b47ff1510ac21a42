"""Which images are trained on, which validate, and which stay sealed for the final test."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

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
    """Sealed: nothing in training, search or selection looks at these."""


def stratified_split(dataset: ImageDataset, config: SplitConfig) -> Split:
    """Divide the training images by grade, keeping groups whole.

    The images whose origin is ``test`` are the test part. A training image that shares a group with one
    of them (the same file, the same patient) is in no part. Each grade gives validation its share as nearly as whole
    groups allow; a grade of two groups or more is in both parts. With ``config.folds``, validation is one of the
    ``stratified_folds``.

    Raises:
        DataError: when too few images are left for both parts.
        ConfigError: when every fold is to validate, which takes as many splits (``config.turns``).
    """
    if config.fold is None:
        raise ConfigError(
            "split.fold is null, so that every fold validates in turn: drft.run_folds does that, "
            "and one training alone needs the number of one fold"
        )
    if config.folds is None:
        train, validation = _held_out_share(dataset, config)
    else:
        folds = stratified_folds(dataset, config.folds, config.seed)
        validation = folds.pop(config.fold)
        train = _ascending(np.concatenate(folds))
    test = [index for index, image in enumerate(dataset.images) if image.origin == "test"]
    return Split(train, validation, _ascending(test))


def stratified_folds(dataset: ImageDataset, folds: int, seed: int) -> list[NDArray[np.int64]]:
    """Divide the training images into folds of like grades, keeping groups whole.

    Every training image is in exactly one fold, but one that shares a group with a test image is in none.
    Larger groups are placed first, each into the fold with the fewest images of its grades, relative to how
    frequent the grades are; the smallest fold where that is a tie. Where each group has one grade, two folds differ
    in images of a grade by the largest group of that grade at most.

    Args:
        dataset: the images.
        folds: how many, 2 at least.
        seed: equal seeds give equal folds.

    Returns:
        Ascending indices into ``dataset.images`` for each fold.

    Raises:
        DataError: when there are fewer groups than folds.
    """
    rng = np.random.default_rng(seed)
    strata = _groups_by_grade(dataset.images, _sealed(dataset))
    groups = [stratum[place] for _, stratum in sorted(strata.items()) for place in rng.permutation(len(stratum))]
    if len(groups) < folds:
        raise DataError(
            f"{dataset.name} has too few training images for {folds} folds: it takes one in each that is no "
            f"duplicate, and there are {len(groups)}"
        )
    labels, grades = dataset.labels(), len(dataset.grades)
    frequencies = np.bincount(labels[np.concatenate(groups)], minlength=grades).clip(1)
    counts = np.zeros((folds, grades))
    parts: list[list[int]] = [[] for _ in range(folds)]
    for group in sorted(groups, key=len, reverse=True):  # a stable sort keeps grades together and the shuffled order
        brought = np.bincount(labels[group], minlength=grades)
        crowded = counts @ (brought / frequencies)
        fold = min(range(folds), key=lambda place: (round(float(crowded[place]), 9), len(parts[place])))
        counts[fold] += brought
        parts[fold].extend(group)
    return [_ascending(part) for part in parts]


def _held_out_share(dataset: ImageDataset, config: SplitConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    strata = _groups_by_grade(dataset.images, _sealed(dataset))
    rng = np.random.default_rng(config.seed)
    train: list[int] = []
    validation: list[int] = []
    for _, groups in sorted(strata.items()):
        shuffled = [groups[place] for place in rng.permutation(len(groups))]
        held_out = _held_out(shuffled, config.validation_fraction)
        for place, group in enumerate(shuffled):
            (validation if place in held_out else train).extend(group)
    if not train or not validation:
        raise DataError(
            f"{dataset.name} has too few training images to hold some out for validation: "
            "it takes two of one grade that are not duplicates"
        )
    return _ascending(train), _ascending(validation)


def _sealed(dataset: ImageDataset) -> set[str]:
    """Return the groups that have a test image."""
    return {image.group for image in dataset.images if image.origin == "test"}


def _groups_by_grade(images: Sequence[LabeledImage], sealed: set[str]) -> dict[int, list[list[int]]]:
    """Return the groups of indices of each grade; a group of several grades counts as its most frequent one."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        if image.group not in sealed:
            members[image.group].append(index)
    strata: dict[int, list[list[int]]] = defaultdict(list)
    for indices in members.values():
        grades = [images[index].grade for index in indices]
        strata[max(sorted(set(grades)), key=grades.count)].append(indices)
    return strata


def _held_out(groups: Sequence[Sequence[int]], fraction: float) -> set[int]:
    """Choose the places of groups for validation: in order, as long as each brings it nearer to its share."""
    if len(groups) < 2:
        return set()
    wanted = fraction * sum(map(len, groups))
    chosen: set[int] = set()
    held = 0
    for place, group in enumerate(groups):
        nearer = abs(held + len(group) - wanted) < abs(held - wanted)
        if nearer and len(chosen) < len(groups) - 1:
            chosen.add(place)
            held += len(group)
    return chosen or {min(range(len(groups)), key=lambda place: len(groups[place]))}


def _ascending(indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.sort(np.asarray(indices, dtype=np.int64))
