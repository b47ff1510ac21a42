"""Does the gap grow with a dimension? Kendall's tau, with everything else held still as far as the trials allow."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from scipy import stats

from study.analysis.backbones import NAME
from study.analysis.estimators.intervals import LEVEL, Estimate, Withheld, mean_estimate

MIN_TRIALS = 20
MIN_GROUPS = 10
"""Groups of trials that differ in one dimension only, from which their mean has an interval."""

Kind = Literal["granulated", "within depths", "plain"]


class Association(NamedTuple):
    """Kendall's tau between one dimension and the gap."""

    dimension: str
    kind: Kind
    """What was held still: everything else, the depth, or nothing."""
    groups: int
    tau: Estimate
    """Of two trials that differ in the dimension, how much more often the one with the higher value has the wider
    gap than the narrower one: -1 to 1. ``n`` counts the trials."""
    p: float | None
    """Of no association, adjusted for the number of dimensions (Holm 1979); None where the sampler looked at scores."""


def gap_associations(
    complete: pd.DataFrame, dimensions: Mapping[str, BaseDistribution], *, even: bool
) -> tuple[Association, ...] | Withheld:
    """Relate each ordered dimension to the gap at the last step.

    Granulated where at least ``MIN_GROUPS`` groups of trials share every other dimension, as on a grid: the mean over
    these groups of the tau within each (Jiang et al. 2020, eq. 5). Else, over pairs of trials of one depth; of depth
    itself, over all pairs, which leaves what else differed mixed into it. Where there are several backbones, both
    trials of a pair have the same. Pairs that tie in the dimension do not count, pairs that tie in the gap count as
    undecided.

    Args:
        complete: completed trials.
        dimensions: the searched ones; unordered categories have no tau and are left out.
        even: whether the sampler chose without looking at scores. Where it did look, dimension and gap both follow the
            course of the search, and a test would find that; there is no p then.

    P-values are normal, with the exact variance under permutation within groups (Kendall 1970, ch. 4). Intervals are
    Student's t over groups, or normal with the variance of a ratio of pair sums (Goodman & Kruskal 1963).
    """
    if len(complete) < MIN_TRIALS:
        return Withheld(f"Kendall's tau needs at least {MIN_TRIALS} completed trials, there are {len(complete)}")
    ordered = [
        name for name, dist in dimensions.items() if _is_ordered(dist) and len(complete[name].dropna().unique()) > 1
    ]
    if not ordered:
        return Withheld("no dimension with an order was searched")
    found = [_associate(complete, name, list(dimensions)) for name in ordered]
    adjusted = holm([association.p or 0.0 for association in found])
    return tuple(association._replace(p=p if even else None) for association, p in zip(found, adjusted, strict=True))


def holm(p: list[float]) -> list[float]:
    """Adjust p-values for their number (Holm 1979)."""
    order = np.argsort(p)
    raised = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, raised)
    return adjusted.tolist()


class PairTally(NamedTuple):
    """Pairs of trials of one group, shape (n,) each: counted once for either trial."""

    concordance: NDArray[np.int64]
    """Concordant minus discordant pairs of each trial."""
    pairs: NDArray[np.int64]
    """Pairs of each trial that differ in the dimension."""
    variance: float
    """Of the sum of concordances over pairs, when the gap is shuffled within the group."""

    @property
    def tau(self) -> float:
        """Their difference in frequency: -1 to 1."""
        return float(self.concordance.sum() / self.pairs.sum())


def _associate(complete: pd.DataFrame, name: str, dimensions: list[str]) -> Association:
    trials = complete[complete[name].notna()]
    others = [other for other in dimensions if other != name]
    alike = _tallies(trials, name, others)
    if len(alike) >= MIN_GROUPS:
        return _granulated(name, alike)
    within = [] if name in {"depth", "depth_fraction"} else ["depth"]
    backbone = [NAME] if NAME in dimensions else []
    return _pooled(name, "within depths" if within else "plain", _tallies(trials, name, [*within, *backbone]))


def _granulated(name: str, tallies: list[PairTally]) -> Association:
    taus = [tally.tau for tally in tallies]
    variance = sum(tally.variance / (tally.pairs.sum() / 2) ** 2 for tally in tallies) / len(tallies) ** 2
    trials = sum(len(tally.pairs) for tally in tallies)
    tau = mean_estimate(taus)._replace(n=trials)
    return Association(name, "granulated", len(tallies), tau, _p(tau.value, variance))


def _pooled(name: str, kind: Kind, tallies: list[PairTally]) -> Association:
    concordance = np.concatenate([tally.concordance for tally in tallies])
    pairs = np.concatenate([tally.pairs for tally in tallies])
    tau = float(concordance.sum() / pairs.sum())
    # Each trial's share in the ratio; a pair counts for both of its trials, hence the 2.
    reach = float(stats.norm.ppf((1 + LEVEL) / 2)) * 2 * float(np.sqrt(((concordance - tau * pairs) ** 2).sum()))
    reach /= float(pairs.sum())
    interval = Estimate(tau, max(-1.0, tau - reach), min(1.0, tau + reach), len(pairs))
    variance = sum(tally.variance for tally in tallies) / (float(pairs.sum()) / 2) ** 2
    return Association(name, kind, len(tallies), interval, _p(tau, variance))


def _p(tau: float, variance: float) -> float:
    return float(2 * stats.norm.sf(abs(tau) / variance**0.5)) if variance > 0 else 1.0


def _tallies(trials: pd.DataFrame, name: str, held: list[str]) -> list[PairTally]:
    """Return one tally per group of trials that agree in what is held still and differ in the dimension."""
    # A missing value means that the dimension was not active: a value of its own.
    keys = trials[held].astype(object).where(trials[held].notna(), "")
    groups = [group for _, group in trials.groupby([keys[column] for column in held], sort=False)] if held else [trials]
    values = ((group[name].to_numpy(dtype=float), group["gap_last"].to_numpy(dtype=float)) for group in groups)
    return [tally(x, y) for x, y in values if len(x) > 1 and np.ptp(x) > 0]


def tally(x: NDArray[np.float64], y: NDArray[np.float64]) -> PairTally:
    """Count concordant minus discordant pairs, and pairs that differ in x."""
    ranks = [np.unique(values, return_inverse=True)[1].astype(np.int32) for values in (x, y)]
    signs = [np.sign(rank[:, None] - rank[None, :]) for rank in ranks]
    concordance, pairs = (signs[0] * signs[1]).sum(axis=1), np.abs(signs[0]).sum(axis=1)
    return PairTally(concordance.astype(np.int64), pairs.astype(np.int64), _variance(*ranks))


def _variance(x: NDArray[np.int32], y: NDArray[np.int32]) -> float:
    """Variance of concordant minus discordant pairs under permutation, with ties (Kendall 1970, eq. 4.3)."""
    n, ties = len(x), [np.bincount(ranks).astype(float) for ranks in (x, y)]
    cubic = n * (n - 1) * (2 * n + 5) - sum(float((t * (t - 1) * (2 * t + 5)).sum()) for t in ties)
    both = np.prod([float((t * (t - 1)).sum()) for t in ties]) / (2 * n * (n - 1))
    triples = np.prod([float((t * (t - 1) * (t - 2)).sum()) for t in ties])
    return float(cubic / 18 + both + (triples / (9 * n * (n - 1) * (n - 2)) if n > 2 else 0.0))


def _is_ordered(distribution: BaseDistribution) -> bool:
    if not isinstance(distribution, CategoricalDistribution):
        return True
    return all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in distribution.choices)
