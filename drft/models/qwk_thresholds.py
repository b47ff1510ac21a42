"""Thresholds on a score that give the highest possible quadratic weighted kappa."""

import numpy as np
from numpy.typing import NDArray

_MARGIN = 0.5
"""Distance from the scores to a threshold that lies below or above all of them."""

_ROUNDING = 1e-12


def qwk_thresholds(scores: NDArray[np.float64], grades: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Return the ascending thresholds with the highest quadratic weighted kappa on these images.

    The predicted grade of an image is the number of thresholds below its score. Kappa is 1 minus the ratio of two sums
    over images: disagreement, and disagreement expected by chance. The ratio is minimized exactly by Dinkelbach's
    iteration (1967), with dynamic programming over the sorted scores in each iteration. A threshold lies midway between
    two scores.

    Args:
        scores: shape (images,).
        grades: true grades of the training part, shape (images,).
        classes: number of grades.

    Returns:
        Shape (classes - 1,). Where all images have one grade, kappa is undefined and the thresholds lie midway between
        the grades.
    """
    if len(np.unique(grades)) < 2:
        return np.asarray(np.arange(1, classes) - 0.5, dtype=np.float64)
    order = np.argsort(scores, kind="stable")
    ordered, distance = scores[order], (grades[order][:, None] - np.arange(classes)) ** 2.0
    # A cut of the sorted images is the number of images before it. Equal scores cannot be separated.
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(ordered)) + 1, [len(ordered)]])
    # Row i: the sums over the images before cut i if all of them were predicted as each grade.
    disagreement = np.vstack([np.zeros(classes), distance.cumsum(axis=0)])[cuts]
    by_chance = cuts[:, None] * distance.mean(axis=0)
    ratio = 1.0  # that of predicting one grade for all images
    while True:
        best = _best_cuts(disagreement - ratio * by_chance)
        bounds, grade = np.concatenate([[0], best, [len(cuts) - 1]]), np.arange(classes)
        sums = [(table[bounds[1:], grade] - table[bounds[:-1], grade]).sum() for table in (disagreement, by_chance)]
        new_ratio = float(sums[0] / sums[1])
        if new_ratio >= ratio - _ROUNDING:
            break
        ratio = new_ratio
    padded = np.concatenate([[ordered[0] - 2 * _MARGIN], ordered, [ordered[-1] + 2 * _MARGIN]])
    return np.asarray((padded[cuts[best]] + padded[cuts[best] + 1]) / 2, dtype=np.float64)


def _best_cuts(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the cuts at which the second and all later grades begin, so that the total cost is lowest.

    Args:
        cost: the cost of all images before a cut if they were predicted as each grade, shape (cuts, classes).

    Returns:
        Row numbers of ``cost``, ascending, shape (classes - 1,).
    """
    cuts, classes = cost.shape
    total, beginnings = cost[:, 0], []
    for grade in range(1, classes):
        before = total - cost[:, grade]
        lowest = np.minimum.accumulate(before)
        beginnings.append(np.maximum.accumulate(np.where(before == lowest, np.arange(cuts), 0)))
        total = lowest + cost[:, grade]
    best, end = [], cuts - 1
    for beginning in reversed(beginnings):
        end = int(beginning[end])
        best.append(end)
    return np.array(best[::-1], dtype=np.int64)
