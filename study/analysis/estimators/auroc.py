"""Area under the ROC curve with DeLong's interval, for two classes and averaged over grades."""

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from study.analysis.estimators.intervals import LEVEL, Estimate, Withheld

Floats = NDArray[np.float64]


def binary_auroc(positive: NDArray[np.bool_], scores: Floats) -> Estimate | Withheld:
    """Return the area under the ROC curve of scores, with DeLong's interval.

    Args:
        positive: which images belong to the class, shape (images,).
        scores: higher for images that rather do, shape (images,).

    Variance after DeLong, DeLong & Clarke-Pearson (1988), by midranks as Sun & Xu (2014) compute it. The interval is
    made on the logit scale, where it cannot leave 0 to 1, with Student's t at Satterthwaite's degrees of freedom, since
    a class of a few images tells little of its own variance.

    Valid for independent images. Without images on both sides there is no area; with a single one on a side, or where
    the scores part the classes perfectly, there is an area and no interval.
    """
    if positive.all() or not positive.any():
        return Withheld("AUROC compares images in a class with images outside it, and one side is empty")
    area, pulls = _placements(positive, scores)
    return _estimate(area, pulls, positive.astype(np.int64))


def macro_auroc(grades: NDArray[np.int64], probabilities: Floats) -> Estimate | Withheld:
    """Return the mean one-versus-rest AUROC over the grades that occur, with its interval.

    Args:
        grades: true grades, shape (images,).
        probabilities: class probabilities, shape (images, grades).

    DeLong's method carried to the mean: what one image contributes is added up over the grades, so that the correlation
    between them is accounted for, and the variance is taken within each grade. Otherwise as :func:`binary_auroc`.
    """
    present = np.unique(grades)
    if len(present) < 2:
        return Withheld("AUROC compares grades, and the images have fewer than two")
    told = [_placements(grades == grade, probabilities[:, grade]) for grade in present]
    area = float(np.mean([area for area, _ in told]))
    return _estimate(area, np.mean([pulls for _, pulls in told], axis=0), grades)


def _placements(positive: NDArray[np.bool_], scores: Floats) -> tuple[float, Floats]:
    """Return the area, and what each image contributes to it (its structural component over its class's size)."""
    own = np.empty(len(scores))
    own[positive], own[~positive] = stats.rankdata(scores[positive]), stats.rankdata(scores[~positive])
    inside, outside = int(positive.sum()), int((~positive).sum())
    beaten = stats.rankdata(scores) - own  # images of the other side with a lower score, ties by half
    pulls = np.where(positive, beaten / outside / inside, (1 - beaten / inside) / outside)
    return float(pulls[positive].sum()), pulls


def _estimate(area: float, pulls: Floats, strata: NDArray[np.int64]) -> Estimate:
    n, sizes = len(pulls), np.unique_counts(strata).counts
    if sizes.min() < 2:
        return Estimate(area, None, None, n)
    parts = np.array([pulls[strata == one].var(ddof=1) for one in np.unique(strata)]) * sizes
    variance = float(parts.sum())
    if variance == 0 or not 0 < area < 1:
        return Estimate(area, None, None, n)
    freedom = variance**2 / float((parts**2 / (sizes - 1)).sum())
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * variance**0.5 / (area * (1 - area))
    low, high = special.expit(special.logit(area) + np.array([-reach, reach]))
    return Estimate(area, float(low), float(high), n)
