"""Referable diabetic retinopathy: whom one would send to an eye doctor, and whom one would miss."""

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
    """Share of the referable images that are called so; exact interval."""
    specificity: Estimate
    """Share of the other images that are not called so; exact interval."""
    auroc: Estimate
    """DeLong's interval; no threshold enters it."""


def referable(
    grades: NDArray[np.int64], probabilities: NDArray[np.floating], threshold: float | None = None
) -> Referable | Withheld:
    """Describe how referable retinopathy is told from the rest.

    Args:
        grades: true grades on the international scale, shape (images,).
        probabilities: class probabilities, shape (images, 5).
        threshold: as :func:`referable_threshold` chose it on other images; None to choose it on these, which flatters
            sensitivity and specificity: their intervals hold for a threshold that was fixed before.

    Valid for independent images that took no part in training, and for five grades.
    """
    if probabilities.shape[1] != SCALE:
        return Withheld(
            f"referable retinopathy is defined on the {SCALE} grades of the international scale, "
            f"and this data set has {probabilities.shape[1]}"
        )
    positive, scores = grades >= REFERABLE, _scores(probabilities)
    auroc = binary_auroc(positive, scores)
    if isinstance(auroc, Withheld):
        return Withheld("referable and other images are compared, and there are none of one kind")
    at = _youden(positive, scores) if threshold is None else threshold
    called, inside = scores >= at, int(positive.sum())
    outside = len(grades) - inside
    return Referable(
        n_referable=inside,
        n_other=outside,
        threshold=at,
        optimistic=threshold is None,
        sensitivity=exact_proportion(int((called & positive).sum()), inside),
        specificity=exact_proportion(int((~called & ~positive).sum()), outside),
        auroc=auroc,
    )


def referable_threshold(grades: NDArray[np.int64], probabilities: NDArray[np.floating]) -> float | Withheld:
    """Choose the threshold with the highest sensitivity plus specificity (Youden 1950); arguments as in ``referable``.

    It lies halfway between two neighbouring scores, where the choice depends least on one image; of equally good ones
    the lowest, which misses the fewest.
    """
    found = referable(grades, probabilities)
    return found if isinstance(found, Withheld) else found.threshold


def _scores(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = probabilities[:, REFERABLE:].sum(axis=1, dtype=np.float64)
    return scores


def _youden(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    values = np.unique(scores)
    between = np.concatenate([values[:1], (values[:-1] + values[1:]) / 2])
    missed = np.searchsorted(np.sort(scores[positive]), between)
    spared = np.searchsorted(np.sort(scores[~positive]), between)
    gained = spared * positive.sum() - missed * (~positive).sum()  # whole numbers, so that equally good is equal
    return float(between[gained.argmax()])
