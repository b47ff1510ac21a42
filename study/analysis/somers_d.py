"""Association of each dimension with the gap: Somers' D, with as much else held constant as the trials allow."""

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
    """Somers' D of the gap, given one dimension."""

    dimension: str
    kind: Kind
    """What was held constant: everything else, the depth, or nothing."""
    groups: int
    tau: Estimate
    """Somers' D: of two trials that differ in the dimension, how much more often the one with the higher value has the
    wider gap than the narrower one: -1 to 1. ``n`` counts the trials."""
    p: float | None
    """Of no association, adjusted for the number of dimensions (Holm 1979); None where the sampler is adaptive."""


def gap_associations(
    complete: pd.DataFrame, dimensions: Mapping[str, BaseDistribution], *, adaptive: bool
) -> tuple[Association, ...] | Withheld:
    """Estimate Somers' D (Somers 1962) of the gap at the last epoch, given each ordered dimension.

    ``D = (concordant - discordant) / pairs that differ in the dimension``: pairs that tie in the dimension do not
    count, pairs that tie in the gap count as undecided. Granulated where at least ``MIN_GROUPS`` groups of trials share
    every other dimension, as on a grid: the mean over these groups of D within each (Jiang et al. 2020, eq. 5, who
    average Kendall's tau). Otherwise over pairs of trials of one depth; of depth itself, over all pairs, which does not
    separate it from what else differed. Where there are several backbones, both trials of a pair have the same.

    Intervals are Student's t over groups, or normal with the variance of a ratio of pair sums (Goodman & Kruskal 1963).
    P-values are normal, with the exact variance under permutation within groups (Kendall 1970, ch. 4). With an adaptive
    sampler dimension and gap both follow the course of the search, and a test would find that; there is no p then.

    Valid for trials drawn independently. Withheld below ``MIN_TRIALS`` completed trials, where the normal approximation
    does not hold, and without an ordered dimension that varies.

    Args:
        complete: completed trials.
        dimensions: the searched ones; unordered categories are left out.
        adaptive: whether the sampler used scores.
    """
    if len(complete) < MIN_TRIALS:
        return Withheld(f"Somers' D needs at least {MIN_TRIALS} completed trials, there are {len(complete)}")
    ordered = [
        name for name, dist in dimensions.items() if _is_ordered(dist) and len(complete[name].dropna().unique()) > 1
    ]
    if not ordered:
        return Withheld("no dimension with an order was searched")
    associations = [_associate(complete, name, list(dimensions)) for name in ordered]
    adjusted = holm([association.p or 0.0 for association in associations])
    return tuple(
        association._replace(p=None if adaptive else p) for association, p in zip(associations, adjusted, strict=True)
    )


def holm(p: list[float]) -> list[float]:
    """Adjust p-values for their number (Holm 1979); ``scipy.stats.false_discovery_control`` has no such method."""
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
    def somers_d(self) -> float:
        """Concordant minus discordant pairs over pairs that differ in the dimension: -1 to 1."""
        return float(self.concordance.sum() / self.pairs.sum())


def _associate(complete: pd.DataFrame, name: str, dimensions: list[str]) -> Association:
    trials = complete[complete[name].notna()]
    tallies = _tallies(trials, name, [other for other in dimensions if other != name])
    if len(tallies) >= MIN_GROUPS:
        variance = sum(tally.variance / (tally.pairs.sum() / 2) ** 2 for tally in tallies) / len(tallies) ** 2
        mean = mean_estimate([tally.somers_d for tally in tallies])._replace(n=sum(len(t.pairs) for t in tallies))
        return Association(name, "granulated", len(tallies), mean, _p_value(mean.value, variance))
    within = [] if name in {"depth", "depth_fraction"} else ["depth"]
    backbone = [NAME] if NAME in dimensions else []
    return _pooled(name, "within depths" if within else "plain", _tallies(trials, name, [*within, *backbone]))


def _pooled(name: str, kind: Kind, tallies: list[PairTally]) -> Association:
    concordance = np.concatenate([tally.concordance for tally in tallies])
    pairs = np.concatenate([tally.pairs for tally in tallies])
    d = float(concordance.sum() / pairs.sum())
    # Each trial's share in the ratio; a pair counts for both of its trials, hence the 2.
    reach = float(stats.norm.ppf((1 + LEVEL) / 2)) * 2 * float(np.sqrt(((concordance - d * pairs) ** 2).sum()))
    reach /= float(pairs.sum())
    interval = Estimate(d, max(-1.0, d - reach), min(1.0, d + reach), len(pairs))
    variance = sum(tally.variance for tally in tallies) / (float(pairs.sum()) / 2) ** 2
    return Association(name, kind, len(tallies), interval, _p_value(d, variance))


def _p_value(d: float, variance: float) -> float:
    return float(2 * stats.norm.sf(abs(d) / variance**0.5)) if variance > 0 else 1.0


def _tallies(trials: pd.DataFrame, name: str, constant: list[str]) -> list[PairTally]:
    """Return one tally per group of trials that agree in the constant dimensions and differ in the named one."""
    # A missing value means that the dimension was not active: a value of its own.
    keys = trials[constant].astype(object).where(trials[constant].notna(), "")
    by = [keys[column] for column in constant]
    groups = [group for _, group in trials.groupby(by, sort=False)] if constant else [trials]
    values = ((group[name].to_numpy(dtype=float), group["gap_last"].to_numpy(dtype=float)) for group in groups)
    return [tally_pairs(x, y) for x, y in values if len(x) > 1 and np.ptp(x) > 0]


def tally_pairs(x: NDArray[np.float64], y: NDArray[np.float64]) -> PairTally:
    """Count concordant minus discordant pairs, and pairs that differ in x."""
    # scipy.stats.somersd returns D alone; pooling groups and its interval need the counts of each trial.
    ranks = [np.unique(values, return_inverse=True)[1].astype(np.int32) for values in (x, y)]
    signs = [np.sign(rank[:, None] - rank[None, :]) for rank in ranks]
    concordance, pairs = (signs[0] * signs[1]).sum(axis=1), np.abs(signs[0]).sum(axis=1)
    return PairTally(concordance.astype(np.int64), pairs.astype(np.int64), _variance(*ranks))


def _variance(x: NDArray[np.int32], y: NDArray[np.int32]) -> float:
    """Return the variance of concordant minus discordant pairs under permutation, with ties (Kendall 1970, eq. 4.3)."""
    n, ties = len(x), [np.bincount(ranks).astype(float) for ranks in (x, y)]
    cubic = n * (n - 1) * (2 * n + 5) - sum(float((t * (t - 1) * (2 * t + 5)).sum()) for t in ties)
    both = np.prod([float((t * (t - 1)).sum()) for t in ties]) / (2 * n * (n - 1))
    triples = np.prod([float((t * (t - 1) * (t - 2)).sum()) for t in ties])
    return float(cubic / 18 + both + (triples / (9 * n * (n - 1) * (n - 2)) if n > 2 else 0.0))


def _is_ordered(distribution: BaseDistribution) -> bool:
    if not isinstance(distribution, CategoricalDistribution):
        return True
    return all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in distribution.choices)
