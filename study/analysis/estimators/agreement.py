"""Whether trials rank on the test images as they do on the validation images."""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from study.analysis.estimators.intervals import LEVEL, RESAMPLES, Estimate, Withheld
from study.analysis.estimators.resampling import resampled_weights

MIN_TRIALS = 10


def rank_agreement(validation: ArrayLike, test: ArrayLike, seed: int = 0) -> Estimate | Withheld:
    """Return Kendall's tau-b (Kendall 1945, Biometrika 33:239) of two scores over the same trials, with its interval.

    1: the trials rank alike on both; 0: the ranks have nothing to do with each other. Noise alone pulls it towards 0,
    for trials that hardly differ cannot rank alike.

    The interval is the percentile bootstrap over trials. A bootstrap over images would be invalid here: resampled
    scores carry the noise of the images twice, so their ranks agree less than the trials' own do and the whole
    interval slips towards 0.

    Valid from ten trials, not all equal on either side. Trials count as drawn independently, which an adaptive sampler
    does not do; the images are those there are.
    """
    one, other = np.asarray(validation, dtype=np.float64), np.asarray(test, dtype=np.float64)
    n = len(one)
    if n < MIN_TRIALS:
        return Withheld(f"rank agreement needs at least {MIN_TRIALS} trials with both scores, there are {n}")
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return Withheld("all trials have the same score")
    taus = weighted_tau(one, other, _weights(n, seed))
    low, high = np.nanquantile(taus[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(taus[0]), float(low), float(high), n)


@lru_cache(maxsize=2)  # the same trials are compared at many steps
def _weights(n: int, seed: int) -> NDArray[np.float32]:
    """Return all trials once, and then the resamples."""
    everyone = np.ones((1, n), dtype=np.float32)
    weights = np.concatenate([everyone, resampled_weights(n, RESAMPLES, seed)])
    weights.setflags(write=False)
    return weights


def weighted_tau(
    one: NDArray[np.float64], other: NDArray[np.float64], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return tau-b with trial i counted ``weights[b, i]`` times, for every row b; nan where a side has no spread."""
    signs = [np.sign(scores[:, None] - scores[None, :]).astype(np.float32) for scores in (one, other)]
    pairs = (signs[0] * signs[1], signs[0] ** 2, signs[1] ** 2)
    concordant, first, second = (((weights @ pair) * weights).sum(axis=1, dtype=np.float64) for pair in pairs)
    with np.errstate(invalid="ignore"):
        return np.asarray(concordant / np.sqrt(first * second))
