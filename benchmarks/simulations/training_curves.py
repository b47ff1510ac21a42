"""Depth, peak, pruning and importance: the statistics of how trainings go."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from optuna.distributions import FloatDistribution, IntDistribution
from scipy import stats

from benchmarks.simulations.base import Simulation
from benchmarks.simulations.intervals import LEVEL, covered
from study.analysis import (
    Design,
    EqualDepths,
    Estimate,
    Importance,
    Withheld,
    cross_fitted,
    equal_depths,
    exact_proportion,
    gap_associations,
    importance,
    proportion,
)
from study.analysis.best_of_k import fair_k, median_best
from study.analysis.importance import Method
from study.analysis.survival import kaplan_meier

Draw = Callable[[np.random.Generator], bool]

_EVEN = Design(pruned=False, learning=False, note="")
_DIMENSIONS = {"depth": IntDistribution(0, 5), "lr": FloatDistribution(0.0, 1.0), "decay": FloatDistribution(0.0, 1.0)}


def _share(happens: Draw) -> Callable[[int, np.random.Generator], Estimate]:
    def measure(runs: int, rng: np.random.Generator) -> Estimate:
        return proportion(sum(happens(rng) for _ in range(runs)), runs)

    return measure


def _band_holds(rng: np.random.Generator) -> bool:
    peaks, ends = rng.geometric(0.25, 40), rng.geometric(0.08, 40)
    curve = kaplan_meier(np.minimum(peaks, ends), peaks <= ends)
    at = [rising.share for rising in curve if rising.step <= 3]
    return bool(at) and covered(at[-1], 0.75 ** max(rising.step for rising in curve if rising.step <= 3))


def _scores(rng: np.random.Generator, n: int) -> np.ndarray:
    """Many good trainings and a tail of bad ones, as learning rates make them."""
    return 0.65 - 0.05 * rng.gamma(1.5, 1.0, n)


def _best_holds(rng: np.random.Generator) -> bool:
    k = fair_k(40)
    truth = 0.65 - 0.05 * float(stats.gamma.ppf(1 - 0.5 ** (1 / k), 1.5))
    return covered(median_best(np.sort(_scores(rng, 40)), k), truth)


def _depths(rng: np.random.Generator, lift: float) -> EqualDepths:
    depth = np.repeat(np.arange(6), 20)
    table = pd.DataFrame({"depth": depth, "score": _scores(rng, 120) + lift * (depth == 3), "state": "COMPLETE"})
    found = equal_depths(table, _EVEN, seed=int(rng.integers(2**31)))
    assert not isinstance(found, Withheld)
    return found


def _flagged_holds(rng: np.random.Generator) -> bool:
    truth = rng.uniform(0.05, 0.95)
    return covered(exact_proportion(int(rng.binomial(10, truth)), 10), truth)


def _noise(rng: np.random.Generator, n: int) -> pd.DataFrame:
    drawn = {"depth": rng.integers(0, 6, n), "lr": rng.uniform(size=n), "decay": rng.uniform(size=n)}
    return pd.DataFrame({**drawn, "score": _scores(rng, n), "gap_last": rng.normal(0.2, 0.05, n)})


def _is_important(method: Method, lift: float) -> Draw:
    def happens(rng: np.random.Generator) -> bool:
        table = _noise(rng, 60)
        table["score"] += lift * table["lr"]
        found = importance(table, _DIMENSIONS, "score", method, seed=int(rng.integers(2**31)))
        assert isinstance(found, Importance)
        return next(bar.share > bar.chance for bar in found.bars if bar.dimension == "lr")

    return happens


def _is_associated(rng: np.random.Generator) -> bool:
    found = gap_associations(_noise(rng, 60), _DIMENSIONS, even=True)
    assert not isinstance(found, Withheld)
    return min(one.p for one in found if one.p is not None) <= 0.05


def _honest_holds(rng: np.random.Generator) -> bool:
    right = rng.uniform(size=(10, 83)) < 0.6
    found = cross_fitted({0: right}, seed=int(rng.integers(2**31)))
    assert not isinstance(found, Withheld)
    return covered(found[0].honest, 0.0)


SIMULATIONS = (
    Simulation(
        "course-survival-band",
        "The survival curve's band holds the share still to peak at step 3, 40 trials, a quarter of them censored",
        LEVEL,
        _share(_band_holds),
    ),
    Simulation(
        "course-best-of-k",
        "The interval of the median best of 6 holds it, 40 skewed trials",
        LEVEL,
        _share(_best_holds),
        "at least",
    ),
    Simulation(
        "course-depth-size",
        "Depth is found to matter where it does not, 6 depths of 20 skewed trials",
        0.05,
        _share(lambda rng: _depths(rng, 0.0).p <= 0.05),
        runs=400,
    ),
    Simulation(
        "course-depth-power",
        "Depth is found to matter where one of six is better by 5 points",
        0.8,
        _share(lambda rng: _depths(rng, 0.05).p <= 0.05),
        "at least",
        runs=400,
    ),
    Simulation(
        "course-audit",
        "The exact interval of what a pruner would have stopped holds it, 10 control trials",
        LEVEL,
        _share(_flagged_holds),
        "at least",
    ),
    Simulation(
        "course-pedanova-size",
        "PED-ANOVA puts a dimension without influence above chance, 60 trials",
        0.05,
        _share(_is_important("ped-anova", 0.0)),
        runs=200,
    ),
    Simulation(
        "course-fanova-size",
        "fANOVA puts a dimension without influence above chance, 60 trials",
        0.05,
        _share(_is_important("fanova", 0.0)),
        "at most",
        runs=100,
    ),
    Simulation(
        "course-fanova-power",
        "fANOVA puts a dimension above chance that moves scores by 10 points over its range, 60 trials",
        0.6,
        _share(_is_important("fanova", 0.1)),
        "at least",
        runs=50,
    ),
    Simulation(
        "course-associations",
        "Some dimension is associated with the gap where none is, 60 trials",
        0.05,
        _share(_is_associated),
        "at most",
        runs=500,
    ),
    Simulation(
        "course-cross-fitting",
        "The cross-fitted interval of best against last holds 0 where all epochs are equal, 83 images",
        LEVEL,
        _share(_honest_holds),
        runs=200,
    ),
)
