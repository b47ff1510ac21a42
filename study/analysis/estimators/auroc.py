"""Area under the ROC curve with DeLong's interval, for two classes and averaged over classes."""

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from study.analysis.estimators.intervals import LEVEL, Estimate, Withheld

Floats = NDArray[np.float64]


def binary_auroc(positive: NDArray[np.bool_], scores: Floats) -> Estimate | Withheld:
    """Estimate the area under the ROC curve: how often a positive image scores higher than a negative one.

    Args:
        positive: which images belong to the class, shape (images,).
        scores: higher for images that more likely belong to it, shape (images,).

    Variance after DeLong, DeLong & Clarke-Pearson (1988), by midranks as Sun & Xu (2014) compute it. The interval is
    made on the logit scale, where it stays within 0 to 1, with Student's t at Satterthwaite's degrees of freedom, since
    the variance of a class of a few images is itself uncertain.

    Valid for independent images. Withheld where one side has no image. With a single image on a side, or where the
    scores separate the classes perfectly, the variance cannot be estimated and there is no interval.
    """
    if positive.all() or not positive.any():
        return Withheld("AUROC compares images in a class with images outside it, and one side is empty")
    area, components = _placements(positive, scores)
    return _estimate(area, components, positive.astype(np.int64))


def macro_auroc(grades: NDArray[np.int64], probabilities: Floats) -> Estimate | Withheld:
    """Estimate the mean one-versus-rest AUROC over the classes that occur.

    Args:
        grades: true classes, shape (images,).
        probabilities: class probabilities, shape (images, classes).

    DeLong's method carried over to the mean: what one image contributes is averaged over the classes, which accounts
    for the correlation between them, and the variance is taken within each class. Otherwise as :func:`binary_auroc`.
    Withheld with fewer than two classes.
    """
    present = np.unique(grades)
    if len(present) < 2:
        return Withheld("AUROC compares grades, and the images have fewer than two")
    areas, components = zip(*(_placements(grades == grade, probabilities[:, grade]) for grade in present), strict=True)
    return _estimate(float(np.mean(areas)), np.mean(components, axis=0), grades)


def _placements(positive: NDArray[np.bool_], scores: Floats) -> tuple[float, Floats]:
    """Return the area, and the structural component of each image over the size of its class, shape (images,)."""
    # sklearn.metrics.roc_auc_score returns the area alone; the interval needs what each image contributes to it.
    within = np.empty(len(scores))
    within[positive], within[~positive] = stats.rankdata(scores[positive]), stats.rankdata(scores[~positive])
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    lower = stats.rankdata(scores) - within  # images of the other side with a lower score, ties by half
    components = np.where(positive, lower / n_negative / n_positive, (1 - lower / n_positive) / n_negative)
    return float(components[positive].sum()), components


def _estimate(area: float, components: Floats, strata: NDArray[np.int64]) -> Estimate:
    n = len(components)
    labels, sizes = np.unique(strata, return_counts=True)
    if sizes.min() < 2:
        return Estimate(area, None, None, n)
    parts = np.array([components[strata == label].var(ddof=1) for label in labels]) * sizes
    variance = float(parts.sum())
    if variance == 0 or not 0 < area < 1:
        return Estimate(area, None, None, n)
    freedom = variance**2 / float((parts**2 / (sizes - 1)).sum())
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * variance**0.5 / (area * (1 - area))
    low, high = special.expit(special.logit(area) + np.array([-reach, reach]))
    return Estimate(area, float(low), float(high), n)
