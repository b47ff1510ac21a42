"""Rank agreement: whether two scores put the same trials in the same order."""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from study.analysis.estimators.intervals import RESAMPLES, Estimate, Withheld, percentile_interval
from study.analysis.estimators.resampling import resampled_weights

MIN_TRIALS = 10
"""Below ten trials the bootstrap interval of a rank correlation spans nearly everything."""


def rank_agreement(first: ArrayLike, second: ArrayLike, seed: int = 0) -> Estimate | Withheld:
    """Estimate Kendall's tau-b (Kendall 1945, Biometrika 33:239) of two scores over the same trials.

    1: both scores rank the trials alike; 0: the ranks are unrelated. Noise in the scores pulls it towards 0, since
    trials that hardly differ cannot rank alike.

    The interval is the percentile bootstrap over trials. A bootstrap over images would be invalid here: resampled
    scores carry the noise of the images twice, so their ranks agree less than those of the trials themselves, and the
    whole interval moves towards 0.

    Valid for trials drawn independently, which those of an adaptive sampler are not, and for the given images. Withheld
    below ``MIN_TRIALS`` trials, or when all trials are equal in one of the scores (there are no ranks to compare).
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    n = len(x)
    if n < MIN_TRIALS:
        return Withheld(f"rank agreement needs at least {MIN_TRIALS} trials with both scores, there are {n}")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Withheld("all trials have the same score")
    replicas = weighted_tau(x, y, _bootstrap_weights(n, seed))
    tau = float(stats.kendalltau(x, y).statistic)
    return Estimate(tau, *percentile_interval(replicas[np.isfinite(replicas)]), n)


@lru_cache(maxsize=2)  # the same trials are compared at many epochs
def _bootstrap_weights(n: int, seed: int) -> NDArray[np.float32]:
    weights = resampled_weights(n, RESAMPLES, seed)
    weights.setflags(write=False)
    return weights


def weighted_tau(x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return tau-b with trial i counted ``weights[b, i]`` times, for every row b; NaN where a side has no spread.

    All resamples are three matrix products; ``scipy.stats.kendalltau`` would be called once for each of them.
    """
    sign_x, sign_y = (np.sign(scores[:, None] - scores[None, :]).astype(np.float32) for scores in (x, y))
    concordant, differ_in_x, differ_in_y = (
        ((weights @ pairs) * weights).sum(axis=1, dtype=np.float64) for pairs in (sign_x * sign_y, sign_x**2, sign_y**2)
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(concordant / np.sqrt(differ_in_x * differ_in_y))
