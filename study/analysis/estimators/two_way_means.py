"""Means of tables whose rows and columns are both random samples, such as trainings and images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from study.analysis.estimators.intervals import LEVEL, Estimate


class MeanEstimate(NamedTuple):
    """A mean, its estimated variance and the degrees of freedom of that; no variance where it cannot be known."""

    value: float
    variance: float | None
    freedom: float

    def estimate(self, n: int, low: float = -np.inf, high: float = np.inf) -> Estimate:
        """Return the t interval, cut at what is possible; there is none without a variance, or when it is 0."""
        if not self.variance:
            return Estimate(self.value, None, None, n)
        reach = self.quantile * self.variance**0.5
        return Estimate(self.value, max(low, self.value - reach), min(high, self.value + reach), n)

    @property
    def quantile(self) -> float:
        """Student's t for the two-sided interval."""
        return float(stats.t.ppf((1 + LEVEL) / 2, self.freedom))


def crossed_mean(values: NDArray[np.float64]) -> MeanEstimate:
    """Mean of a two-way table with random rows and columns (Searle, Casella & McCulloch 1992, ch. 4).

    Its variance is ``(MS_rows + MS_columns - MS_rest) / size``, with Satterthwaite's (1946) degrees of freedom; an
    effect of rows or columns that comes out negative is taken for none. The interval holds its level from two rows on
    (tests simulate it). With one row the variance between rows cannot be known, and there is none.

    Args:
        values: shape (rows, columns), such as 1 where training r got image c right.
    """
    rows, columns = values.shape
    mean = float(values.mean())
    if rows < 2 or columns < 2:
        return MeanEstimate(mean, None, 0)
    by_row, by_column = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_row[:, None] - by_column[None, :] + mean
    freedom = (rows - 1) * (columns - 1)
    remainder = float((rest**2).sum()) / freedom
    effects = ((columns * float(by_row.var(ddof=1)), rows - 1), (rows * float(by_column.var(ddof=1)), columns - 1))
    seen = [effect for effect in effects if effect[0] > remainder]
    parts = [*seen, (-remainder, freedom)] if len(seen) == 2 else seen or [(remainder, freedom)]
    return combined(mean, [(square / values.size, of) for square, of in parts])


def combined(value: float, parts: Sequence[tuple[float, float]]) -> MeanEstimate:
    """Add up variances, each with its degrees of freedom (Satterthwaite 1946)."""
    variance = sum(part for part, _ in parts)
    doubt = sum(part**2 / freedom for part, freedom in parts)
    return MeanEstimate(value, variance, variance**2 / doubt if doubt else 1.0)


def ratio(above: MeanEstimate, below: MeanEstimate, n: int) -> Estimate | None:
    """Ratio of two independent means with Fieller's (1954) interval.

    Returns:
        None where ``below`` is not clearly above zero, for the interval has no end then.
    """
    t = max(spread.quantile for spread in (above, below) if spread.variance) if above.variance or below.variance else 0
    reach = t * (below.variance or 0.0) ** 0.5
    if below.value <= reach:
        return None
    share, g = above.value / below.value, (reach / below.value) ** 2
    inner = (above.variance or 0.0) * (1 - g) + share**2 * (below.variance or 0.0)
    middle, half = share / (1 - g), t * inner**0.5 / (below.value * (1 - g))
    return Estimate(share, middle - half, middle + half, n)
