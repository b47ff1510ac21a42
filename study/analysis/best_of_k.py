"""Depths compared at equal numbers of trials: the best score of k trials at each depth."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln

from study.analysis.design import Design
from study.analysis.estimators.intervals import LEVEL, Estimate, Withheld

MIN_TRIALS = 7
"""Fewer values have no exact interval with two ends for their median."""

SHUFFLES = 999

_ALPHA = 0.05
"""Depths differ if chance alone would make them differ so much in at most this share of studies."""

Floats = NDArray[np.float64]


class DepthBest(NamedTuple):
    """The best of k random trials of one depth."""

    depth: int
    n: int
    """Trials of this depth."""
    expected: float
    """Mean over all choices of k trials of their best score: the expected best of k."""
    median: Estimate
    """Median best score of k trials, with its exact interval for random trials."""


class Contrast(NamedTuple):
    """The best of k at one depth minus that at another."""

    depth: int
    other: int
    difference: Estimate
    """Of the median best of k; the interval is joined from two exact ones, and covers at 95 % or more."""
    p: float
    """How often the widest difference between any two depths is as large when depths are shuffled over trials. This
    accounts for the number of pairs, and for having picked the best depth afterwards."""


class EqualDepths(NamedTuple):
    """Depths compared at equal numbers of trials."""

    k: int
    n: int
    depths: tuple[DepthBest, ...]
    against_shallowest: tuple[Contrast, ...]
    against_best: tuple[Contrast, ...]
    """Every other depth against the one with the highest expected best."""
    p: float
    """Of the hypothesis that depth makes no difference to the best of k (permutation test)."""
    note: str
    """What limits these figures; empty for nothing."""

    @property
    def best(self) -> int:
        """The depth with the highest expected best."""
        return self.against_best[0].other

    @property
    def clearly_worse(self) -> tuple[int, ...]:
        """The depths that are below the best one by more than chance explains."""
        return tuple(contrast.depth for contrast in self.against_best if contrast.p <= _ALPHA)


def equal_depths(trials: pd.DataFrame, design: Design | Withheld, seed: int = 0) -> EqualDepths | Withheld:
    """Estimate the best score of k trials at each depth, and the differences between depths.

    ``k`` is the largest number for which the smallest depth's trials give the median best of k an exact interval with
    two ends, at the level two joined intervals need: about a sixth of them. Larger k depend on a few top scores.

    The median best of k is the ``0.5 ** (1 / k)`` quantile of a depth's scores, whose order statistics bound it
    whatever their distribution (David & Nagaraja 2003, sec. 7.1; Lourie, Cho & He 2024 for tuning curves). The
    permutation test is exact for independent trials whose depth was chosen independently of scores. Failed trials do
    not count. Scores are of validation images, and the best of them are optimistic at every depth alike.

    Withheld where ``design`` withholds it (an adaptive sampler favours depths), with fewer than two depths, and where a
    depth has fewer than ``MIN_TRIALS`` trials.
    """
    if isinstance(design, Withheld):
        return design
    ended = trials[trials["state"].isin(["COMPLETE", "PRUNED"]) & trials["score"].notna()]
    depths, counts = np.unique(ended["depth"].to_numpy(dtype=np.int64), return_counts=True)
    if not len(depths):
        return Withheld("no trial has ended")
    if len(depths) < 2:
        return Withheld("comparing depths needs two of them, there is 1")
    if counts.min() < MIN_TRIALS:
        few = depths[counts.argmin()]
        return Withheld(f"every depth needs at least {MIN_TRIALS} trials, and depth {few} has {counts.min()}")
    k = fair_k(int(counts.min()))
    scores = ended["score"].to_numpy(dtype=np.float64)
    by_depth = {int(depth): np.sort(scores[ended["depth"].to_numpy() == depth]) for depth in depths}
    shuffled = shuffled_ranges(scores, counts, k, seed)
    bests = {
        depth: DepthBest(depth, len(ordered), float(expected_best(ordered, k)), median_best(ordered, k))
        for depth, ordered in by_depth.items()
    }
    top = max(bests.values(), key=lambda best: (best.expected, -best.depth)).depth
    return EqualDepths(
        k=k,
        n=len(scores),
        depths=tuple(bests.values()),
        against_shallowest=_contrasts(by_depth, bests, min(by_depth), k, shuffled),
        against_best=_contrasts(by_depth, bests, top, k, shuffled),
        p=_p_value(shuffled, float(np.ptp([best.expected for best in bests.values()]))),
        note=design.note,
    )


def fair_k(n: int) -> int:
    """Return the largest k whose median best has an exact two-ended interval from n trials, at the joined level.

    All of n trials lie below the median best of k with probability ``0.5 ** (n / k)``, which must not exceed a quarter
    of 5 %.
    """
    return int(n * np.log(2) / np.log(4 / (1 - LEVEL)))


def expected_best(ordered: Floats, k: int) -> Floats:
    """Expected maximum of k values drawn without replacement: ``sum_i x_(i) C(i-1, k-1) / C(n, k)``.

    Args:
        ordered: rising values along the last axis, shape (..., n).
        k: how many are drawn, 1 to n.
    """
    n = ordered.shape[-1]
    rank = np.arange(k, n + 1)
    weights = np.exp(_log_choose(rank - 1, k - 1) - _log_choose(np.array(n), k))
    return np.asarray(ordered[..., k - 1 :] @ weights)


def median_best(scores: Floats, k: int, level: float = LEVEL) -> Estimate:
    """Estimate the median of the best of k: the ``0.5 ** (1 / k)`` quantile, with the interval of order statistics.

    Args:
        scores: independent scores, shape (n,).
        k: of how many the best is taken.
        level: confidence; an end that n values cannot give is None.
    """
    share = 0.5 ** (1 / k)
    interval = stats.quantile_test(scores, p=share).confidence_interval(level)
    low, high = (float(end) if np.isfinite(end) else None for end in interval)
    return Estimate(float(np.quantile(scores, share, method="inverted_cdf")), low, high, len(scores))


def shuffled_ranges(scores: Floats, counts: NDArray[np.int64], k: int, seed: int) -> Floats:
    """Return the widest difference in expected best of k between any two groups, for random groups of these sizes."""
    # scipy.stats.permutation_test shuffles in another order: the p-values of existing reports would change.
    shuffled = np.random.default_rng(seed).permuted(np.tile(scores, (SHUFFLES, 1)), axis=1)
    edges = np.cumsum([0, *counts])
    bests = [expected_best(np.sort(shuffled[:, start:stop], axis=1), k) for start, stop in pairwise(edges)]
    return np.asarray(np.ptp(np.stack(bests), axis=0))


def _contrasts(
    by_depth: Mapping[int, Floats], bests: Mapping[int, DepthBest], other: int, k: int, shuffled: Floats
) -> tuple[Contrast, ...]:
    return tuple(
        Contrast(
            depth,
            other,
            _difference(ordered, by_depth[other], k),
            _p_value(shuffled, abs(bests[depth].expected - bests[other].expected)),
        )
        for depth, ordered in by_depth.items()
        if depth != other
    )


def _difference(first: Floats, second: Floats, k: int) -> Estimate:
    level = (1 + LEVEL) / 2  # two intervals at 97.5 % hold together at 95 % or more (Bonferroni)
    a, b = median_best(first, k, level), median_best(second, k, level)
    low = None if a.low is None or b.high is None else a.low - b.high
    high = None if a.high is None or b.low is None else a.high - b.low
    return Estimate(a.value - b.value, low, high, min(a.n, b.n))


def _p_value(shuffled: Floats, observed: float) -> float:
    """Return the share of shuffles as extreme as the observed range, itself among them (Phipson & Smyth 2010)."""
    return float(((shuffled >= observed - 1e-12).sum() + 1) / (len(shuffled) + 1))


def _log_choose(n: NDArray[np.int64], k: int) -> Floats:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
