"""Estimates with a 95 % interval and the number of values, and the reason where an estimate is withheld."""

from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95
"""Confidence level of every interval in a report."""

RESAMPLES = 4000
"""Bootstrap resamples: the ends of an interval then move by about 1 % of its width from seed to seed."""

MIN_FOR_T = 3
"""Student's t interval of two values is thirteen times as wide as their distance and would dominate any figure."""

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
    """Estimate a mean, with Student's t interval ``mean +- t(n - 1) * sd / sqrt(n)``.

    Valid for values that are drawn independently and are not grossly skewed. There is no interval below ``MIN_FOR_T``
    values, or when all values are equal: a standard deviation of 0 would claim certainty.
    """
    array = np.asarray(values, dtype=np.float64)
    n, mean = len(array), float(array.mean())
    sd = float(array.std(ddof=1)) if n > 1 else None
    if n < MIN_FOR_T or not sd:
        return Estimate(mean, None, None, n, sd)
    low, high = stats.t.interval(LEVEL, n - 1, loc=mean, scale=sd / n**0.5)
    return Estimate(mean, float(low), float(high), n, sd)


def bootstrap_mean(values: ArrayLike, seed: int = 0) -> Estimate:
    """Estimate a mean, with a percentile bootstrap interval over the values (Efron & Tibshirani 1993).

    Valid for values that are drawn independently. For paired figures the values are the differences, so that pairs stay
    together. There is no interval below ``MIN_FOR_BOOTSTRAP`` values.
    """
    return _bootstrap(values, np.mean, seed)


def bootstrap_median(values: ArrayLike, seed: int = 0) -> Estimate:
    """Estimate a median, with a percentile bootstrap interval; conditions as in :func:`bootstrap_mean`."""
    return _bootstrap(values, np.median, seed)


def _bootstrap(values: ArrayLike, statistic: Any, seed: int) -> Estimate:
    array = np.asarray(values, dtype=np.float64)
    n, value = len(array), float(statistic(array))
    sd = float(array.std(ddof=1)) if n > 1 else None
    if n < MIN_FOR_BOOTSTRAP:
        return Estimate(value, None, None, n, sd)
    # scipy.stats.bootstrap draws other resamples from the same seed: the figures of existing reports would change.
    drawn = np.random.default_rng(seed).integers(0, n, (RESAMPLES, n), dtype=np.int32)
    return Estimate(value, *percentile_interval(statistic(array[drawn], axis=1)), n, sd)


def percentile_interval(replicas: NDArray[np.floating]) -> tuple[float, float]:
    """Return the percentiles of bootstrap replicas between which ``LEVEL`` of them lie, shape (resamples,)."""
    low, high = np.quantile(replicas, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def proportion(successes: int, n: int) -> Estimate:
    """Estimate a probability by a share of n, with Wilson's (1927) score interval.

    Valid for n independent events of the same probability. The interval keeps its level for small n and for shares near
    0 and 1 (Brown, Cai & DasGupta 2001).

    Raises:
        ValueError: when n is 0 or the successes are not within 0 and n.
    """
    return _binomial(successes, n, "wilson")


def exact_proportion(successes: int, n: int) -> Estimate:
    """Estimate a probability by a share of n, with the exact interval of Clopper & Pearson (1934).

    For very small n: the interval never covers less than its level, and is wider than that of :func:`proportion`.

    Raises:
        ValueError: when n is 0 or the successes are not within 0 and n.
    """
    return _binomial(successes, n, "exact")


@lru_cache(
    maxsize=4096
)  # A report of a thousand trials needs few different shares; SciPy takes a millisecond for each.
def _binomial(successes: int, n: int, method: Literal["wilson", "exact"]) -> Estimate:
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"a proportion needs 0 <= successes <= n and n >= 1, got {successes} of {n}")
    interval = stats.binomtest(successes, n).proportion_ci(LEVEL, method)
    return Estimate(successes / n, float(interval.low), float(interval.high), n)


def difference_of_proportions(first: Estimate, second: Estimate) -> Estimate:
    """Estimate the first probability minus the second, from two independent samples; ``n`` counts both.

    The interval is Newcombe's (1998, Statistics in Medicine 17:873, method 10), made of the Wilson intervals that
    :func:`proportion` returns.
    """
    (p, p_low, p_high), (q, q_low, q_high) = _ends(first), _ends(second)
    low = p - q - ((p - p_low) ** 2 + (q_high - q) ** 2) ** 0.5
    high = p - q + ((p_high - p) ** 2 + (q - q_low) ** 2) ** 0.5
    return Estimate(p - q, low, high, first.n + second.n)


def _ends(share: Estimate) -> tuple[float, float, float]:
    assert share.low is not None
    assert share.high is not None
    return share.value, share.low, share.high
