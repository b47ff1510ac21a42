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
    """The other way round."""
    difference: Estimate
    """Accuracy of the first minus that of the second; percentile bootstrap over images, pairs kept together."""
    p_value: float
    """McNemar's (1947) exact test, two-sided: how likely such a split of the disagreements is by chance."""


def paired_difference(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> PairedDifference:
    """Compare which images two trainings got right, shape (images,) each, in the same order.

    Valid for two trainings chosen without a look at these images. The best of two studies were chosen on them, so
    both scores are optimistic, the one of the larger study more so.

    Raises:
        ValueError: when there is no image, or not the same number.
    """
    if not len(one) or len(one) != len(other):
        raise ValueError(f"a paired difference needs the same images, got {len(one)} and {len(other)}")
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    apart = only_one + only_other
    return PairedDifference(
        n_images=len(one),
        only_one=only_one,
        only_other=only_other,
        difference=bootstrap_mean(one.astype(np.float64) - other),
        p_value=float(stats.binomtest(only_one, apart).pvalue) if apart else 1.0,
    )
