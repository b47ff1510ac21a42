"""Estimates with their interval and number, and the reason where there can be none."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95
"""Confidence level of every interval in a report."""

RESAMPLES = 4000
"""Bootstrap resamples: the ends of an interval then move by about 1 % of its width from seed to seed."""

MIN_FOR_T = 3
"""Two values have an interval on paper, thirteen times as wide as their distance: it would only hide the rest."""

MIN_FOR_BOOTSTRAP = 5
"""Below five values the percentile bootstrap is far too narrow (Efron & Tibshirani 1993, ch. 13)."""


class Estimate(NamedTuple):
    """A figure with its 95 % interval; ``low`` and ``high`` are None where n allows no interval."""

    value: float
    low: float | None
    high: float | None
    n: int
    sd: float | None = None
    """Standard deviation of the single values, where they have one."""


class Withheld(NamedTuple):
    """A statistic that would be invalid, and why."""

    reason: str


def mean_estimate(values: ArrayLike) -> Estimate:
    """Mean with Student's t interval.

    Valid for values drawn independently and not grossly skewed; with fewer than ``MIN_FOR_T`` values, or when all are
    equal, there is no interval.
    """
    array = np.asarray(values, dtype=np.float64)
    n, mean = len(array), float(array.mean())
    sd = float(array.std(ddof=1)) if n > 1 else None
    if n < MIN_FOR_T or not sd:
        return Estimate(mean, None, None, n, sd)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * sd / n**0.5
    return Estimate(mean, mean - reach, mean + reach, n, sd)


def bootstrap_mean(values: ArrayLike, seed: int = 0) -> Estimate:
    """Mean with a percentile bootstrap interval (Efron & Tibshirani 1993) over the values.

    For paired figures the values are the differences, so that pairs stay together. No interval below
    ``MIN_FOR_BOOTSTRAP`` values.
    """
    array = np.asarray(values, dtype=np.float64)
    return _bootstrapped(array, float(array.mean()), _resampled(array, seed).mean(axis=1))


def bootstrap_median(values: ArrayLike, seed: int = 0) -> Estimate:
    """Median with a percentile bootstrap interval; conditions as in :func:`bootstrap_mean`."""
    array = np.asarray(values, dtype=np.float64)
    return _bootstrapped(array, float(np.median(array)), np.median(_resampled(array, seed), axis=1))


def proportion(successes: int, n: int) -> Estimate:
    """Share of n with Wilson's score interval (Wilson 1927; Brown, Cai & DasGupta 2001).

    Valid for independent trials with one probability; holds its level for small n and shares near 0 and 1.

    Raises:
        ValueError: when n is 0 or the successes are not within 0 and n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"a proportion needs 0 <= successes <= n and n >= 1, got {successes} of {n}")
    share, z = successes / n, float(stats.norm.ppf((1 + LEVEL) / 2))
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5 / (1 + z**2 / n)
    return Estimate(share, min(share, max(0.0, middle - reach)), max(share, min(1.0, middle + reach)), n)


def difference_of_proportions(one: Estimate, other: Estimate) -> Estimate:
    """Return one proportion minus an independent other one; ``n`` counts the images of both.

    With Newcombe's interval (1998, Statistics in Medicine 17:873, method 10), made of the two Wilson intervals that
    :func:`proportion` gives.
    """
    (p, p_low, p_high), (q, q_low, q_high) = _ends(one), _ends(other)
    low = p - q - ((p - p_low) ** 2 + (q_high - q) ** 2) ** 0.5
    high = p - q + ((p_high - p) ** 2 + (q - q_low) ** 2) ** 0.5
    return Estimate(p - q, low, high, one.n + other.n)


def exact_proportion(successes: int, n: int) -> Estimate:
    """Share of n with the exact interval of Clopper & Pearson (1934), for shares of very few.

    Never covers less than its level, and for that is wider than :func:`proportion`.

    Raises:
        ValueError: when n is 0 or the successes are not within 0 and n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"a proportion needs 0 <= successes <= n and n >= 1, got {successes} of {n}")
    tail = (1 - LEVEL) / 2
    low = float(stats.beta.ppf(tail, successes, n - successes + 1)) if successes else 0.0
    high = float(stats.beta.isf(tail, successes + 1, n - successes)) if successes < n else 1.0
    return Estimate(successes / n, low, high, n)


def _ends(share: Estimate) -> tuple[float, float, float]:
    assert share.low is not None
    assert share.high is not None
    return share.value, share.low, share.high


def _resampled(array: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    picked = np.random.default_rng(seed).integers(0, len(array), (RESAMPLES, len(array)), dtype=np.int32)
    return array[picked]


def _bootstrapped(array: NDArray[np.float64], value: float, replicas: NDArray[np.float64]) -> Estimate:
    n = len(array)
    sd = float(array.std(ddof=1)) if n > 1 else None
    if n < MIN_FOR_BOOTSTRAP:
        return Estimate(value, None, None, n, sd)
    low, high = np.quantile(replicas, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high), n, sd)
