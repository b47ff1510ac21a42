"""Two trainings on the same images."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from study.analysis.estimators.intervals import Estimate, bootstrap_mean


class PairedDifference(NamedTuple):
    """How two trainings differ on the images they share."""

    n_images: int
    only_one: int
    """Images that the first got right and the second wrong."""
    only_other: int
    """Images that the second got right and the first wrong."""
    difference: Estimate
    """Accuracy of the first minus that of the second; percentile bootstrap over images, pairs kept together."""
    p_value: float
    """McNemar's (1947) exact test, two-sided: how likely such a split of the disagreements is by chance."""


def paired_difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedDifference:
    """Estimate the difference in accuracy of two trainings on the same images.

    Args:
        first: which images the first training got right, shape (images,).
        second: likewise for the second training, in the same order.

    Valid for two trainings that were not chosen on these images. The best trials of two studies were, so both scores
    are optimistic, that of the larger study more so. No interval below five images (:func:`bootstrap_mean`).

    Raises:
        ValueError: when there is no image, or not the same number.
    """
    if not len(first) or len(first) != len(second):
        raise ValueError(f"a paired difference needs the same images, got {len(first)} and {len(second)}")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    return PairedDifference(
        n_images=len(first),
        only_one=only_first,
        only_other=only_second,
        difference=bootstrap_mean(first.astype(np.float64) - second),
        p_value=float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0,
    )
