"""Referable diabetic retinopathy: which patients to send to an eye doctor, and which of them a threshold misses."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.analysis.estimators.auroc import binary_auroc
from study.analysis.estimators.intervals import Estimate, Withheld, exact_proportion

REFERABLE = 2
"""Moderate retinopathy or worse is referable (International Council of Ophthalmology, 2017)."""

SCALE = 5
"""Grades of the international scale (Wilkinson et al. 2003)."""


class Referable(NamedTuple):
    """Referable against not referable, by the summed probability of the referable grades."""

    n_referable: int
    n_other: int
    threshold: float
    """Images with at least this summed probability are called referable."""
    optimistic: bool
    """True when the threshold was chosen on these same images."""
    sensitivity: Estimate
    """Share of the referable images that are called referable; exact interval."""
    specificity: Estimate
    """Share of the other images that are not called referable; exact interval."""
    auroc: Estimate
    """DeLong's interval; independent of the threshold."""


def referable(
    grades: NDArray[np.int64], probabilities: NDArray[np.floating], threshold: float | None = None
) -> Referable | Withheld:
    """Estimate sensitivity, specificity and AUROC of detecting referable retinopathy.

    Args:
        grades: true grades on the international scale, shape (images,).
        probabilities: class probabilities, shape (images, 5).
        threshold: as :func:`referable_threshold` chose it on other images; None to choose it on these. Sensitivity and
            specificity are then optimistic: their intervals hold for a threshold that was fixed before.

    Valid for independent images that took no part in training. Withheld for another scale than that of five grades, for
    which referable is not defined, and where all images are referable or none is.
    """
    if probabilities.shape[1] != SCALE:
        return Withheld(
            f"referable retinopathy is defined on the {SCALE} grades of the international scale, "
            f"and this data set has {probabilities.shape[1]}"
        )
    positive = grades >= REFERABLE
    scores: NDArray[np.float64] = probabilities[:, REFERABLE:].sum(axis=1, dtype=np.float64)
    auroc = binary_auroc(positive, scores)
    if isinstance(auroc, Withheld):
        return Withheld("referable images are compared with other images, and one of the two groups is empty")
    used = _best_threshold(positive, scores) if threshold is None else threshold
    called, n_referable = scores >= used, int(positive.sum())
    n_other = len(grades) - n_referable
    return Referable(
        n_referable=n_referable,
        n_other=n_other,
        threshold=used,
        optimistic=threshold is None,
        sensitivity=exact_proportion(int((called & positive).sum()), n_referable),
        specificity=exact_proportion(int((~called & ~positive).sum()), n_other),
        auroc=auroc,
    )


def referable_threshold(grades: NDArray[np.int64], probabilities: NDArray[np.floating]) -> float | Withheld:
    """Choose the threshold with the highest sensitivity plus specificity (Youden 1950).

    Arguments and conditions as in :func:`referable`. The threshold lies halfway between two neighbouring scores, where
    the choice depends least on one image; of equally good ones it is the lowest, which misses the fewest patients.
    """
    statistic = referable(grades, probabilities)
    return statistic if isinstance(statistic, Withheld) else statistic.threshold


def _best_threshold(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    values = np.unique(scores)
    between = np.concatenate([values[:1], (values[:-1] + values[1:]) / 2])
    missed = np.searchsorted(np.sort(scores[positive]), between)
    spared = np.searchsorted(np.sort(scores[~positive]), between)
    # Whole numbers, so that equally good thresholds are equal; the shares of sklearn.metrics.roc_curve are rounded.
    gained = spared * positive.sum() - missed * (~positive).sum()
    return float(between[gained.argmax()])
