"""Which dimensions decide: PED-ANOVA and fANOVA, with what chance alone would give beside them."""

import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import BaseImportanceEvaluator, FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial

from study.analysis.estimators.intervals import Withheld

Target = Literal["score", "gap_last"]
Method = Literal["ped-anova", "fanova"]
Shares = Sequence[Mapping[str, float]]

MIN_TRIALS: Mapping[Method, int] = MappingProxyType({"ped-anova": 20, "fanova": 30})
SHUFFLES: Mapping[Method, int] = MappingProxyType({"ped-anova": 39, "fanova": 19})
"""A dimension without influence exceeds the second largest of 39 shuffles, or the largest of 19, in one of twenty
studies; more shuffles would only cost time."""

IN_TOP = 5
"""PED-ANOVA compares the best trials with all; below five best ones its densities are guesswork (Optuna's advice)."""

TREES, TREE_DEPTH = 8, 5
"""Forests for fANOVA stay small, since there are many; up to 32 leaves show any main effect."""

SHADOW = "shuffled "


class Bar(NamedTuple):
    """Importance of one dimension."""

    dimension: str
    share: float
    """PED-ANOVA: share of the summed importance of all dimensions. fANOVA: share of the variance of the target, as
    forests model it, that the dimension explains by itself; the rest is interactions and noise."""
    chance: float
    """What a dimension without influence reaches in 95 % of studies, on the same scale."""


class Importance(NamedTuple):
    """Importance of every dimension for one target, largest first."""

    target: Target
    method: Method
    n: int
    top: float
    """Share of trials that count as the best ones (PED-ANOVA); 1 where all count alike (fANOVA)."""
    bars: tuple[Bar, ...]
    left_out: tuple[str, ...]
    """Dimensions the method cannot rank: fANOVA knows only those that every trial has."""


def importance(
    complete: pd.DataFrame,
    dimensions: Mapping[str, BaseDistribution],
    target: Target,
    method: Method = "ped-anova",
    seed: int = 0,
) -> Importance | Withheld:
    """Return the importance of each dimension for one target.

    PED-ANOVA (Watanabe, Bansal & Hutter 2023) says which dimensions set the best trials (highest validation score, or
    smallest gap at the last step) apart from all completed ones; chance is what it says when the target is shuffled
    over the trials; a dimension that is not active in all trials counts among those where it is (conditional PED-ANOVA,
    arXiv 2601.20800). fANOVA (Hutter, Hoos & Leyton-Brown 2014) says which dimensions explain the spread of the target
    over the whole space, good and bad; chance is what a copy of the dimension, shuffled over the trials, explains in
    the same forests (Kursa & Rudnicki 2010).

    Valid from 20 completed trials (fANOVA: 30) and two dimensions that vary. Both describe the region the sampler
    visited (TPE crowds around good values) and leave pruned trials out; neither shows interactions.
    """
    least = MIN_TRIALS[method]
    if len(complete) < least:
        return Withheld(f"importance needs at least {least} completed trials, there are {len(complete)}")
    searched = {name: dist for name, dist in dimensions.items() if not dist.single() and complete[name].notna().any()}
    everywhere = {name: dist for name, dist in searched.items() if complete[name].notna().all()}
    ranked = searched if method == "ped-anova" else everywhere
    if len(ranked) < 2:
        return Withheld("importance compares dimensions, and fewer than two were searched")
    scores = complete[target].to_numpy(dtype=np.float64) * (-1 if target == "score" else 1)
    if np.ptp(scores) == 0:
        return Withheld("all completed trials have the same score")
    top = max(0.1, IN_TOP / len(complete)) if method == "ped-anova" else 1.0
    bars = (
        _pedanova(complete, ranked, scores, top, seed)
        if method == "ped-anova"
        else _fanova(complete, ranked, scores, seed)
    )
    if not bars:
        return Withheld("no dimension sets the best trials apart")
    return Importance(target, method, len(complete), top, bars, tuple(name for name in searched if name not in ranked))


def _pedanova(
    complete: pd.DataFrame,
    dimensions: Mapping[str, BaseDistribution],
    scores: NDArray[np.float64],
    top: float,
    seed: int,
) -> tuple[Bar, ...]:
    study = _study(complete, dimensions)
    judge = PedAnovaImportanceEvaluator(target_quantile=top)
    found = _judged(judge, study, scores)
    total = sum(found.values())
    if total <= 0:
        return ()
    rng = np.random.default_rng(seed)
    shuffled = [_judged(judge, study, rng.permutation(scores)) for _ in range(SHUFFLES["ped-anova"])]
    return _bars({name: value / total for name, value in found.items()}, shuffled, total)


def _fanova(
    complete: pd.DataFrame, dimensions: Mapping[str, BaseDistribution], scores: NDArray[np.float64], seed: int
) -> tuple[Bar, ...]:
    table, plain = _without_logarithms(complete, dimensions)
    shadows = {SHADOW + name: dist for name, dist in plain.items()}
    doubled = table.assign(**{SHADOW + name: table[name] for name in plain})
    study, rng = _study(doubled, {**plain, **shadows}), np.random.default_rng(seed)
    told = []
    for forest in range(SHUFFLES["fanova"]):
        _shuffle(study, list(shadows), rng)
        judge = FanovaImportanceEvaluator(n_trees=TREES, max_depth=TREE_DEPTH, seed=seed + forest)
        told.append(_judged(judge, study, scores))
    shares = {name: float(np.mean([found[name] for found in told])) for name in dimensions}
    return _bars(shares, [{name: found[SHADOW + name] for name in dimensions} for found in told], 1.0)


def _without_logarithms(
    complete: pd.DataFrame, dimensions: Mapping[str, BaseDistribution]
) -> tuple[pd.DataFrame, dict[str, BaseDistribution]]:
    """Put logarithms in place of what is searched on a logarithmic scale: fANOVA weighs equal widths equally."""
    logarithmic = {
        name: FloatDistribution(float(np.log(dist.low)), float(np.log(dist.high)))
        for name, dist in dimensions.items()
        if isinstance(dist, FloatDistribution | IntDistribution) and dist.log
    }
    columns = {
        name: np.log(complete[name].astype(float)).clip(dist.low, dist.high) for name, dist in logarithmic.items()
    }
    return complete.assign(**columns), {**dimensions, **logarithmic}


def _bars(shares: Mapping[str, float], shuffled: Shares, total: float) -> tuple[Bar, ...]:
    rank = (len(shuffled) + 1) // 20
    chance = {name: sorted(found[name] for found in shuffled)[-rank] / total for name in shares}
    return tuple(sorted((Bar(name, shares[name], chance[name]) for name in shares), key=lambda bar: -bar.share))


def _judged(judge: BaseImportanceEvaluator, study: optuna.Study, scores: NDArray[np.float64]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lower is better, as it is told; rare conditional values have few trials
        found = judge.evaluate(study, target=lambda trial: float(scores[trial.number]))
    return {name: float(value) for name, value in found.items()}


def _shuffle(study: optuna.Study, names: Sequence[str], rng: np.random.Generator) -> None:
    """Give the trials each other's values of some dimensions."""
    trials = study.get_trials(deepcopy=False)
    for name in names:
        values = [trial.params[name] for trial in trials]
        for trial, place in zip(trials, rng.permutation(len(trials)), strict=True):
            trial.params[name] = values[place]


def _study(complete: pd.DataFrame, dimensions: Mapping[str, BaseDistribution]) -> optuna.Study:
    study = _silent_study()
    study.add_trials([_frozen(row, dimensions) for row in complete.to_dict("records")])
    for trial in study.get_trials(deepcopy=False):
        # The storage copied them; Optuna groups trials by distribution, and comparing one object with itself is quick.
        trial.distributions = {name: dimensions[name] for name in trial.params}
    return study


def _silent_study() -> optuna.Study:
    """Make a study in memory without Optuna's log line about it."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study()
    finally:
        optuna.logging.set_verbosity(verbosity)


def _frozen(row: Mapping[Any, Any], dimensions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    present = {name: dist for name, dist in dimensions.items() if not pd.isna(row[name])}
    return optuna.trial.create_trial(
        value=0.0,
        params={name: _value(row[name], dist) for name, dist in present.items()},
        distributions=dict(present),
    )


def _value(cell: Any, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return next(choice for choice in distribution.choices if choice == cell)
    return int(cell) if isinstance(distribution, IntDistribution) else float(cell)
