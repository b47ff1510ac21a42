"""Thresholds that cut a score into grades with the highest quadratic weighted kappa there can be."""

import numpy as np
from numpy.typing import NDArray

_BEYOND = 0.5
"""How far beyond all scores a threshold lies that cuts none of them off."""

_ROUNDING = 1e-12


def qwk_thresholds(scores: NDArray[np.float64], grades: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Return the thresholds with the highest quadratic weighted kappa on these images, ascending.

    An image gets the grade that counts the thresholds below its score. Kappa is one minus the ratio of the
    disagreement to that expected by chance, both sums over images, so that the best cuts are found exactly:
    Dinkelbach's iteration (1967) over the ratio, dynamic programming over the sorted scores within. A threshold lies
    midway between two scores.

    Args:
        scores: shape (images,).
        grades: true grades, shape (images,), of the training part alone.
        classes: how many grades there are.

    Returns:
        Shape (classes - 1,): midway between the grades where kappa is undefined, since all images are of one.
    """
    if len(np.unique(grades)) < 2:
        return np.asarray(np.arange(1, classes) - 0.5, dtype=np.float64)
    order = np.argsort(scores, kind="stable")
    ordered, distance = scores[order], (grades[order][:, None] - np.arange(classes)) ** 2.0
    places = np.concatenate([[0], np.flatnonzero(np.diff(ordered)) + 1, [len(ordered)]])
    disagreement = np.vstack([np.zeros(classes), distance.cumsum(axis=0)])[places]
    by_chance = places[:, None] * distance.mean(axis=0)
    ratio = 1.0  # of one grade for all
    while True:
        cuts = _cheapest_cuts(disagreement - ratio * by_chance)
        found = _ratio(cuts, disagreement, by_chance)
        if found >= ratio - _ROUNDING:
            return _between(ordered, places[cuts])
        ratio = found


def _ratio(cuts: NDArray[np.int64], disagreement: NDArray[np.float64], by_chance: NDArray[np.float64]) -> float:
    bounds = np.concatenate([[0], cuts, [len(disagreement) - 1]])
    grade = np.arange(disagreement.shape[1])
    sums = [(table[bounds[1:], grade] - table[bounds[:-1], grade]).sum() for table in (disagreement, by_chance)]
    return float(sums[0] / sums[1])


def _cheapest_cuts(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return where grades begin, from the second on, so that the images cost least together.

    Args:
        cost: of all images before a place, if they had one grade, shape (places, classes).
    """
    places, classes = cost.shape
    best, begins = cost[:, 0], []
    for grade in range(1, classes):
        opened = best - cost[:, grade]
        lowest = np.minimum.accumulate(opened)
        begins.append(np.maximum.accumulate(np.where(opened == lowest, np.arange(places), 0)))
        best = lowest + cost[:, grade]
    cuts, end = [], places - 1
    for begin in reversed(begins):
        end = int(begin[end])
        cuts.append(end)
    return np.array(cuts[::-1], dtype=np.int64)


def _between(ordered: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    padded = np.concatenate([[ordered[0] - 2 * _BEYOND], ordered, [ordered[-1] + 2 * _BEYOND]])
    return np.asarray((padded[starts] + padded[starts + 1]) / 2, dtype=np.float64)
