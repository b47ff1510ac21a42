"""Means of tables whose rows and columns are both random samples, such as trainings and images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from study.analysis.estimators.intervals import LEVEL, Estimate


class MeanWithVariance(NamedTuple):
    """A mean, its estimated variance and the degrees of freedom of that; None where it cannot be estimated."""

    value: float
    variance: float | None
    freedom: float

    def estimate(self, n: int, low: float = -np.inf, high: float = np.inf) -> Estimate:
        """Return the t interval, cut at the possible values; none where the variance is unknown or 0."""
        if not self.variance:
            return Estimate(self.value, None, None, n)
        reach = self.quantile * self.variance**0.5
        return Estimate(self.value, max(low, self.value - reach), min(high, self.value + reach), n)

    @property
    def quantile(self) -> float:
        """Student's t for the two-sided interval."""
        return float(stats.t.ppf((1 + LEVEL) / 2, self.freedom))


def crossed_mean(values: NDArray[np.float64]) -> MeanWithVariance:
    """Estimate the mean of a two-way table with random rows and columns (Searle, Casella & McCulloch 1992, ch. 4).

    Its variance is ``(MS_rows + MS_columns - MS_rest) / size``, with Satterthwaite's (1946) degrees of freedom; an
    effect of rows or columns with a negative estimate counts as none. The interval keeps its level from two rows on
    (tests simulate it). With one row or one column the variance between them cannot be estimated: it is None.

    Args:
        values: shape (rows, columns), such as 1 where training r got image c right.
    """
    rows, columns = values.shape
    mean = float(values.mean())
    if rows < 2 or columns < 2:
        return MeanWithVariance(mean, None, 0)
    by_row, by_column = values.mean(axis=1), values.mean(axis=0)
    residuals = values - by_row[:, None] - by_column[None, :] + mean
    freedom = (rows - 1) * (columns - 1)
    residual = float((residuals**2).sum()) / freedom
    effects = ((columns * float(by_row.var(ddof=1)), rows - 1), (rows * float(by_column.var(ddof=1)), columns - 1))
    positive = [effect for effect in effects if effect[0] > residual]
    parts = [*positive, (-residual, freedom)] if len(positive) == 2 else positive or [(residual, freedom)]
    return sum_of_variances(mean, [(square / values.size, df) for square, df in parts])


def sum_of_variances(value: float, parts: Sequence[tuple[float | None, float]]) -> MeanWithVariance:
    """Add up variances, each with its degrees of freedom; those of the sum are Satterthwaite's (1946)."""
    known = [(part, freedom) for part, freedom in parts if part is not None]
    if len(known) < len(parts):
        return MeanWithVariance(value, None, 0)
    variance = sum(part for part, _ in known)
    squares = sum(part**2 / freedom for part, freedom in known)
    return MeanWithVariance(value, variance, variance**2 / squares if squares else 1.0)


def ratio(numerator: MeanWithVariance, denominator: MeanWithVariance, n: int) -> Estimate | None:
    """Estimate the ratio of two independent means, with Fieller's (1954) interval.

    Returns:
        None where the denominator is not clearly above zero: the interval is unbounded then.
    """
    spreads = [mean.quantile for mean in (numerator, denominator) if mean.variance]
    t = max(spreads, default=0.0)
    reach = t * (denominator.variance or 0.0) ** 0.5
    if denominator.value <= reach:
        return None
    share, g = numerator.value / denominator.value, (reach / denominator.value) ** 2
    inner = (numerator.variance or 0.0) * (1 - g) + share**2 * (denominator.variance or 0.0)
    middle, half = share / (1 - g), t * inner**0.5 / (denominator.value * (1 - g))
    return Estimate(share, middle - half, middle + half, n)
