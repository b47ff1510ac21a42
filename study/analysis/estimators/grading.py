"""How well one training grades: agreement, recall of each grade and the confusion matrix."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.metrics import balanced_accuracy, confusion, qwk
from study.analysis.estimators.auroc import macro_auroc
from study.analysis.estimators.intervals import (
    RESAMPLES,
    Estimate,
    Withheld,
    exact_proportion,
    percentile_interval,
    proportion,
)

MIN_FOR_KAPPA = 20
"""Below twenty images the bootstrap of a kappa over five grades does not keep its level."""

NOT_ORDERED = Withheld("the classes are not ordered")
"""Why a quadratic weighted kappa is not shown: it takes a class next to the true one for a smaller error."""


class Grading(NamedTuple):
    """Predicted grades of one training, on images that it was not trained on."""

    n: int
    accuracy: Estimate
    """Wilson's interval."""
    qwk: Estimate | Withheld
    """Quadratic weighted kappa; percentile bootstrap over images."""
    balanced_accuracy: Estimate
    """Mean recall of the grades that occur; Wilson's intervals of the recalls combined."""
    auroc: Estimate | Withheld
    """Mean one-versus-rest AUROC of the grades that occur; DeLong's method."""
    recall: tuple[Estimate | Withheld, ...]
    """Share found of each grade, with the exact interval; its n is the number of images of that grade."""
    confusion: tuple[tuple[int, ...], ...]
    """Images by true grade (rows) and predicted grade (columns)."""


def grading(
    grades: NDArray[np.int64], probabilities: NDArray[np.floating], seed: int = 0, *, ordinal: bool = True
) -> Grading | Withheld:
    """Compare the most probable class of each image with its true grade.

    Args:
        grades: true grades, shape (images,).
        probabilities: class probabilities, shape (images, grades).
        seed: of the bootstrap.
        ordinal: whether the classes are ordered; else there is no kappa.

    Valid for independent images that took no part in training. On images that chose the training or its epoch all
    figures are optimistic, and no interval accounts for it. A grade that does not occur has no recall and counts in no
    mean. Withheld without images.
    """
    if len(grades) == 0:
        return Withheld("there is no image to predict")
    counts = confusion(grades, probabilities.argmax(axis=1), probabilities.shape[1])
    return Grading(
        n=len(grades),
        accuracy=proportion(int(np.trace(counts)), len(grades)),
        qwk=kappa_estimate(counts, seed) if ordinal else NOT_ORDERED,
        balanced_accuracy=balanced_accuracy_estimate(counts),
        auroc=macro_auroc(grades, probabilities.astype(np.float64)),
        recall=tuple(
            exact_proportion(int(row[grade]), int(row.sum())) if row.any() else Withheld("no image has this class")
            for grade, row in enumerate(counts)
        ),
        confusion=tuple(tuple(row) for row in counts.tolist()),
    )


def kappa_estimate(counts: NDArray[np.int64], seed: int = 0) -> Estimate:
    """Estimate quadratic weighted kappa (Cohen 1968) from a confusion matrix, shape (grades, grades).

    The interval is a percentile bootstrap over images, drawn regardless of their grade. Drawing within each grade, or
    the BCa interval, misses the truth in up to 14 % of simulated sets of 53 to 83 images; this one in 3 to 5 %
    (``benchmarks/simulations/grading.py``). There is no interval below ``MIN_FOR_KAPPA`` images, or where every
    resample gives the same kappa.
    """
    n, value = int(counts.sum()), qwk(counts)
    if n < MIN_FOR_KAPPA:
        return Estimate(value, None, None, n)
    drawn = np.random.default_rng(seed).multinomial(n, counts.ravel() / n, RESAMPLES)
    replicas = _kappas(drawn.reshape(-1, *counts.shape))
    if np.ptp(replicas) == 0:
        return Estimate(value, None, None, n)
    return Estimate(value, *percentile_interval(replicas), n)


def balanced_accuracy_estimate(counts: NDArray[np.int64]) -> Estimate:
    """Estimate balanced accuracy from a confusion matrix, shape (grades, grades).

    The interval combines Wilson's intervals of the recalls: the squared distances of each recall from the ends of its
    own interval add up (MOVER: Newcombe 1998; Zou & Donner 2008), since grades are independent samples. Valid for
    grades of very few images too, where a bootstrap takes a recall of 0 or 1 for certain.
    """
    present = np.flatnonzero(counts.sum(axis=1))
    recalls = [proportion(int(counts[grade, grade]), int(counts[grade].sum())) for grade in present]
    value = balanced_accuracy(counts)
    below = sum((recall.value - (recall.low or 0.0)) ** 2 for recall in recalls) ** 0.5 / len(recalls)
    above = sum(((recall.high or 0.0) - recall.value) ** 2 for recall in recalls) ** 0.5 / len(recalls)
    return Estimate(value, max(0.0, value - below), min(1.0, value + above), int(counts.sum()))


def _kappas(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ``drft.metrics.qwk`` of each confusion matrix, shape (matrices, grades, grades), without a loop."""
    grade = np.arange(counts.shape[-1])
    weights = (grade[:, None] - grade[None, :]) ** 2
    rows, columns = counts.sum(axis=2), counts.sum(axis=1)
    expected = np.einsum("bi,ij,bj->b", rows, weights, columns) / rows.sum(axis=1)
    observed = np.einsum("bij,ij->b", counts, weights)
    return np.where(expected > 0, 1 - observed / np.where(expected > 0, expected, 1), 0.0)
