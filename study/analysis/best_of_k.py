"""What depth buys when every depth gets equally many trials: the best of k, exactly."""

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
"""Fewer values have no interval for their median that is exact and has two ends."""

SHUFFLES = 999


class DepthBest(NamedTuple):
    """The best of k random trials of one depth."""

    depth: int
    n: int
    """Trials there are."""
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
    """How often the widest difference between any two depths is as large when depths are shuffled over trials:
    already accounts for the number of pairs, and for having picked the best depth afterwards."""


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


def equal_depths(trials: pd.DataFrame, design: Design | Withheld, seed: int = 0) -> EqualDepths | Withheld:
    """Compare the best scores of depths, with equally many trials each.

    ``k`` is the largest number for which the smallest depth's trials give the median best of k an exact interval with
    two ends, at the level two joined intervals need: about a sixth of them. Larger k lean on a few top scores.

    The median best of k is the ``0.5 ** (1 / k)`` quantile of a depth's scores, whose order statistics bound it
    whatever their distribution (David & Nagaraja 2003, sec. 7.1; Lourie, Cho & He 2024 for tuning curves). The
    permutation test is exact for independent trials that were given their depth without looking at scores; ``design``
    says where that is so. Failed trials do not count. Scores are of validation, and the best of them flatter at every
    depth alike.
    """
    if isinstance(design, Withheld):
        return design
    ended = trials[trials["state"].isin(["COMPLETE", "PRUNED"]) & trials["score"].notna()]
    depth, scores = ended["depth"].to_numpy(dtype=np.int64), ended["score"].to_numpy(dtype=np.float64)
    found, counts = np.unique(depth, return_counts=True)
    if len(found) < 2:
        return Withheld(
            f"comparing depths needs two of them, there is {len(found)}" if len(found) else "no trial has ended"
        )
    if counts.min() < MIN_TRIALS:
        few = found[counts.argmin()]
        return Withheld(f"every depth needs at least {MIN_TRIALS} trials, and depth {few} has {counts.min()}")
    k = fair_k(int(counts.min()))
    by_depth = {int(value): np.sort(scores[depth == value]) for value in found}
    shuffled = widest_when_shuffled(scores, counts, k, seed)
    bests = tuple(_best(value, ordered, k) for value, ordered in by_depth.items())
    top = max(bests, key=lambda best: (best.expected, -best.depth)).depth
    return EqualDepths(
        k=k,
        n=len(scores),
        depths=bests,
        against_shallowest=_contrasts(by_depth, bests[0].depth, k, shuffled),
        against_best=_contrasts(by_depth, top, k, shuffled),
        p=_share(shuffled, np.ptp([best.expected for best in bests])),
        note=design.note,
    )


def fair_k(n: int) -> int:
    """Return the largest k whose median best has an exact two-ended interval from n trials, at the joined level.

    All of n trials lie below the median best of k with probability ``0.5 ** (n / k)``, which must not exceed a quarter
    of 5 %.
    """
    return int(n * np.log(2) / np.log(4 / (1 - LEVEL)))


def expected_best(ordered: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Expected maximum of k values drawn without replacement: ``sum_i x_(i) C(i-1, k-1) / C(n, k)``.

    Args:
        ordered: rising values along the last axis, shape (..., n).
        k: how many are drawn, 1 to n.
    """
    n = ordered.shape[-1]
    rank = np.arange(k, n + 1)
    weights = np.exp(_log_choose(rank - 1, k - 1) - _log_choose(np.array(n), k))
    return np.asarray(ordered[..., k - 1 :] @ weights)


def median_best(ordered: NDArray[np.float64], k: int, level: float = LEVEL) -> Estimate:
    """Median of the best of k, with the exact interval of order statistics.

    Args:
        ordered: rising values, shape (n,).
        k: of how many the best is taken.
        level: confidence; an end that n values cannot give is None.
    """
    n, share = len(ordered), 0.5 ** (1 / k)
    # X_(i) lies below the quantile when at least i values do: a binomial count.
    low = int(stats.binom.ppf((1 - level) / 2, n, share))
    high = int(stats.binom.ppf((1 + level) / 2, n, share)) + 1
    middle = float(ordered[min(n, int(np.ceil(share * n))) - 1])
    return Estimate(
        middle,
        float(ordered[low - 1]) if low >= 1 else None,
        float(ordered[high - 1]) if high <= n else None,
        n,
    )


def widest_when_shuffled(
    scores: NDArray[np.float64], counts: NDArray[np.int64], k: int, seed: int
) -> NDArray[np.float64]:
    """Return the widest difference in expected best of k between any two groups, for random groups of these sizes."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(scores, (SHUFFLES, 1)), axis=1)
    edges = np.cumsum([0, *counts])
    bests = [expected_best(np.sort(shuffled[:, start:stop], axis=1), k) for start, stop in pairwise(edges)]
    return np.asarray(np.ptp(np.stack(bests), axis=0))


def _best(depth: int, ordered: NDArray[np.float64], k: int) -> DepthBest:
    return DepthBest(depth, len(ordered), float(expected_best(ordered, k)), median_best(ordered, k))


def _contrasts(
    by_depth: dict[int, NDArray[np.float64]], other: int, k: int, shuffled: NDArray[np.float64]
) -> tuple[Contrast, ...]:
    return tuple(
        Contrast(
            depth, other, _difference(ordered, by_depth[other], k), _share(shuffled, _lead(ordered, by_depth[other], k))
        )
        for depth, ordered in by_depth.items()
        if depth != other
    )


def _lead(one: NDArray[np.float64], other: NDArray[np.float64], k: int) -> float:
    return abs(float(expected_best(one, k) - expected_best(other, k)))


def _difference(one: NDArray[np.float64], other: NDArray[np.float64], k: int) -> Estimate:
    level = (1 + LEVEL) / 2
    a, b = median_best(one, k, level), median_best(other, k, level)
    ends = (a.low, b.high), (a.high, b.low)
    low, high = (None if end is None or away is None else end - away for end, away in ends)
    return Estimate(a.value - b.value, low, high, min(a.n, b.n))


def _share(shuffled: NDArray[np.float64], found: float) -> float:
    """Share of shufflings as extreme as what was found, itself among them (Phipson & Smyth 2010)."""
    return float(((shuffled >= found - 1e-12).sum() + 1) / (len(shuffled) + 1))


def _log_choose(n: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
