"""The difference between the verdicts of two studies on the same images."""

from collections.abc import Sequence

import numpy as np

from study.analysis.estimators.depth_curve import fit_depth_curve
from study.analysis.estimators.intervals import Estimate, percentile_interval
from study.analysis.verdict import DepthEvidence, accuracy_covariance, covariance_of_shares


def paired_difference_of_depths(
    one: Sequence[DepthEvidence], one_depth: int, other: Sequence[DepthEvidence], other_depth: int, seed: int = 0
) -> Estimate:
    """Estimate the expected accuracy of a training of one study minus that of another, image by image.

    All depths of both studies are estimated together: each study has its own smooth curve, as in its verdict, so that a
    depth which was chosen because it did well by chance is drawn back in both. Images and trainings are random. What an
    image adds to both studies cancels out; the trainings of the two studies count as independent of each other.

    Valid for out-of-fold predictions of the same images. Folds may differ.

    Args:
        one: results of the first study, at least two depths.
        one_depth: which of its depths.
        other: results of the second study on the same images in the same order.
        other_depth: which of its depths.
        seed: of the posterior draws.

    Returns:
        The posterior mean with its interval; ``n`` is the number of images.
    """
    depths = (*one, *other)
    variances = [accuracy_covariance(study)[1] ** 2 / len(depth.gaps) for study in (one, other) for depth in study]
    shares = np.array([depth.correct.mean(axis=0) for depth in depths])
    curve = fit_depth_curve(
        np.array([depth.depth_fraction for depth in depths]),
        shares.mean(axis=1),
        covariance_of_shares(shares, variances),
        seed,
        np.repeat([0, 1], [len(one), len(other)]),
    )
    first = [depth.depth for depth in one].index(one_depth)
    second = len(one) + [depth.depth for depth in other].index(other_depth)
    draws = curve.draws[:, first] - curve.draws[:, second]
    return Estimate(float(draws.mean()), *percentile_interval(draws), shares.shape[1])
