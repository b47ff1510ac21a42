"""Depth, peak, pruning and importance: statistics of training curves and of the search."""

from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution
from scipy import stats

from benchmarks.simulations.base import LEVEL, Rng, Simulation, covered, share_of, valid
from study.analysis.best_of_k import equal_depths, fair_k, median_best
from study.analysis.design import Design
from study.analysis.estimators.crossfit import cross_fitted
from study.analysis.estimators.intervals import exact_proportion
from study.analysis.importance import Importance, Method, importance
from study.analysis.somers_d import gap_associations
from study.analysis.survival import kaplan_meier

_EVEN = Design(pruned=False, learning=False, note="")
_DIMENSIONS = {"depth": IntDistribution(0, 5), "lr": FloatDistribution(0.0, 1.0), "decay": FloatDistribution(0.0, 1.0)}


def _band_covers(rng: Rng) -> bool:
    peaks, ends = rng.geometric(0.25, 40), rng.geometric(0.08, 40)
    points = [point for point in kaplan_meier(np.minimum(peaks, ends), peaks <= ends) if point.step <= 3]
    return bool(points) and covered(points[-1].share, 0.75 ** max(point.step for point in points))


def _scores(rng: Rng, n: int) -> NDArray[np.float64]:
    """Draw many good scores and a tail of bad ones, as learning rates produce them."""
    return 0.65 - 0.05 * rng.gamma(1.5, 1.0, n)


def _best_covers(rng: Rng) -> bool:
    k = fair_k(40)
    truth = 0.65 - 0.05 * float(stats.gamma.ppf(1 - 0.5 ** (1 / k), 1.5))
    return covered(median_best(np.sort(_scores(rng, 40)), k), truth)


def _depth_matters(rng: Rng, gain: float) -> bool:
    depth = np.repeat(np.arange(6), 20)
    table = pd.DataFrame({"depth": depth, "score": _scores(rng, 120) + gain * (depth == 3), "state": "COMPLETE"})
    return valid(equal_depths(table, _EVEN, seed=int(rng.integers(2**31)))).p <= 0.05


def _audit_covers(rng: Rng) -> bool:
    truth = rng.uniform(0.05, 0.95)
    return covered(exact_proportion(int(rng.binomial(10, truth)), 10), truth)


def _trials(rng: Rng, n: int) -> pd.DataFrame:
    """Draw trials whose scores and gaps do not depend on their parameters."""
    params = {"depth": rng.integers(0, 6, n), "lr": rng.uniform(size=n), "decay": rng.uniform(size=n)}
    return pd.DataFrame({**params, "score": _scores(rng, n), "gap_last": rng.normal(0.2, 0.05, n)})


def _is_important(rng: Rng, method: Method, gain: float) -> bool:
    table = _trials(rng, 60)
    table["score"] += gain * table["lr"]
    found = importance(table, _DIMENSIONS, "score", method, seed=int(rng.integers(2**31)))
    assert isinstance(found, Importance)
    return next(bar.share > bar.chance for bar in found.bars if bar.dimension == "lr")


def _is_associated(rng: Rng) -> bool:
    found = valid(gap_associations(_trials(rng, 60), _DIMENSIONS, adaptive=False))
    return min(association.p for association in found if association.p is not None) <= 0.05


def _cross_fitting_covers(rng: Rng) -> bool:
    correct = rng.uniform(size=(10, 83)) < 0.6
    found = valid(cross_fitted({0: correct}, seed=int(rng.integers(2**31))))
    return covered(found[0].honest, 0.0)


SIMULATIONS = (
    Simulation(
        "course-survival-band",
        "The survival curve's band contains the share still to peak at epoch 3, 40 trials, a quarter of them censored",
        LEVEL,
        share_of(_band_covers),
    ),
    Simulation(
        "course-best-of-k",
        "The interval of the median best of 6 contains it, 40 skewed trials",
        LEVEL,
        share_of(_best_covers),
        "at least",
    ),
    Simulation(
        "course-depth-size",
        "Depth is found to matter where it does not, 6 depths of 20 skewed trials",
        0.05,
        share_of(partial(_depth_matters, gain=0.0)),
        runs=400,
    ),
    Simulation(
        "course-depth-power",
        "Depth is found to matter where one of six is better by 5 points",
        0.8,
        share_of(partial(_depth_matters, gain=0.05)),
        "at least",
        runs=400,
    ),
    Simulation(
        "course-audit",
        "The exact interval of what a pruner would have stopped contains it, 10 control trials",
        LEVEL,
        share_of(_audit_covers),
        "at least",
    ),
    Simulation(
        "course-pedanova-size",
        "PED-ANOVA puts a dimension without influence above chance, 60 trials",
        0.05,
        share_of(partial(_is_important, method="ped-anova", gain=0.0)),
        runs=200,
    ),
    Simulation(
        "course-fanova-size",
        "fANOVA puts a dimension without influence above chance, 60 trials",
        0.05,
        share_of(partial(_is_important, method="fanova", gain=0.0)),
        "at most",
        runs=100,
    ),
    Simulation(
        "course-fanova-power",
        "fANOVA puts a dimension above chance that moves scores by 10 points over its range, 60 trials",
        0.6,
        share_of(partial(_is_important, method="fanova", gain=0.1)),
        "at least",
        runs=50,
    ),
    Simulation(
        "course-associations",
        "Some dimension is associated with the gap where none is, 60 trials",
        0.05,
        share_of(_is_associated),
        "at most",
        runs=500,
    ),
    Simulation(
        "course-cross-fitting",
        "The cross-fitted interval of best against last contains 0 where all epochs are equal, 83 images",
        LEVEL,
        share_of(_cross_fitting_covers),
        runs=200,
    ),
)
