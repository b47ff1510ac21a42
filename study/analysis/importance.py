"""Importance of each dimension by PED-ANOVA and fANOVA, with the importance that chance alone would give."""

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

from study.analysis.estimators.intervals import Withheld

Target = Literal["score", "gap_last"]
Method = Literal["ped-anova", "fanova"]
Distributions = Mapping[str, BaseDistribution]

MIN_TRIALS: Mapping[Method, int] = MappingProxyType({"ped-anova": 20, "fanova": 30})
SHUFFLES: Mapping[Method, int] = MappingProxyType({"ped-anova": 39, "fanova": 19})
"""A dimension without influence exceeds the second largest of 39 shuffles, or the largest of 19, in one of twenty
studies; more shuffles would only cost time."""

IN_TOP = 5
"""PED-ANOVA compares the best trials with all; below five best ones its densities are unreliable (Optuna's advice)."""

TREES, TREE_DEPTH = 8, 5
"""Forests for fANOVA stay small, since there are many; up to 32 leaves show any main effect."""

SHADOW = "shuffled "
"""Prefix of the shuffled copy of a dimension."""


class DimensionImportance(NamedTuple):
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
    bars: tuple[DimensionImportance, ...]
    left_out: tuple[str, ...]
    """Dimensions the method cannot rank: fANOVA needs a value in every trial."""


def importance(
    complete: pd.DataFrame,
    dimensions: Distributions,
    target: Target,
    method: Method = "ped-anova",
    seed: int = 0,
) -> Importance | Withheld:
    """Estimate how much each dimension decides one target: the validation score, or the gap at the last epoch.

    PED-ANOVA (Watanabe, Bansal & Hutter 2023): which dimensions distinguish the best trials (highest score, or smallest
    gap) from all completed ones. Chance is its result when the target is shuffled over the trials. A dimension that is
    not active in all trials counts among those where it is (conditional PED-ANOVA, arXiv 2601.20800). fANOVA (Hutter,
    Hoos & Leyton-Brown 2014): which dimensions explain the variance of the target over the whole space, good and bad.
    Chance is what a copy of the dimension, shuffled over the trials, explains in the same forests (Kursa & Rudnicki
    2010).

    Valid for the region that the sampler visited (TPE concentrates on good values) and for completed trials; neither
    method shows interactions. Withheld below 20 completed trials (fANOVA: 30), where the estimates are mostly noise;
    with fewer than two dimensions that vary; and where all scores are equal.
    """
    least = MIN_TRIALS[method]
    if len(complete) < least:
        return Withheld(f"importance needs at least {least} completed trials, there are {len(complete)}")
    searched = {name: dist for name, dist in dimensions.items() if not dist.single() and complete[name].notna().any()}
    everywhere = {name: dist for name, dist in searched.items() if complete[name].notna().all()}
    ranked = searched if method == "ped-anova" else everywhere
    if len(ranked) < 2:
        return Withheld("importance compares dimensions, and fewer than two were searched")
    losses = complete[target].to_numpy(dtype=np.float64) * (-1 if target == "score" else 1)
    if np.ptp(losses) == 0:
        return Withheld("all completed trials have the same score")
    top = max(0.1, IN_TOP / len(complete)) if method == "ped-anova" else 1.0
    bars = (
        _pedanova(complete, ranked, losses, top, seed)
        if method == "ped-anova"
        else _fanova(complete, ranked, losses, seed)
    )
    if not bars:
        return Withheld("no dimension distinguishes the best trials")
    return Importance(target, method, len(complete), top, bars, tuple(name for name in searched if name not in ranked))


def _pedanova(
    complete: pd.DataFrame, dimensions: Distributions, losses: NDArray[np.float64], top: float, seed: int
) -> tuple[DimensionImportance, ...]:
    study = _study(complete, dimensions)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=top)
    values = _evaluate(evaluator, study, losses)
    total = sum(values.values())
    if total <= 0:
        return ()
    rng = np.random.default_rng(seed)
    shuffled = [_evaluate(evaluator, study, rng.permutation(losses)) for _ in range(SHUFFLES["ped-anova"])]
    return _sorted({name: value / total for name, value in values.items()}, shuffled, total)


def _fanova(
    complete: pd.DataFrame, dimensions: Distributions, losses: NDArray[np.float64], seed: int
) -> tuple[DimensionImportance, ...]:
    table, linear = _without_logarithms(complete, dimensions)
    shadows = {SHADOW + name: dist for name, dist in linear.items()}
    doubled = table.assign(**{SHADOW + name: table[name] for name in linear})
    study, rng = _study(doubled, {**linear, **shadows}), np.random.default_rng(seed)
    values = []
    for forest in range(SHUFFLES["fanova"]):
        _shuffle(study, list(shadows), rng)
        evaluator = FanovaImportanceEvaluator(n_trees=TREES, max_depth=TREE_DEPTH, seed=seed + forest)
        values.append(_evaluate(evaluator, study, losses))
    shares = {name: float(np.mean([value[name] for value in values])) for name in dimensions}
    return _sorted(shares, [{name: value[SHADOW + name] for name in dimensions} for value in values], 1.0)


def _without_logarithms(
    complete: pd.DataFrame, dimensions: Distributions
) -> tuple[pd.DataFrame, dict[str, BaseDistribution]]:
    """Replace dimensions on a logarithmic scale by their logarithms: fANOVA weighs equal widths equally."""
    logarithmic = {
        name: FloatDistribution(float(np.log(dist.low)), float(np.log(dist.high)))
        for name, dist in dimensions.items()
        if isinstance(dist, FloatDistribution | IntDistribution) and dist.log
    }
    columns = {
        name: np.log(complete[name].astype(float)).clip(dist.low, dist.high) for name, dist in logarithmic.items()
    }
    return complete.assign(**columns), {**dimensions, **logarithmic}


def _sorted(
    shares: Mapping[str, float], shuffled: Sequence[Mapping[str, float]], total: float
) -> tuple[DimensionImportance, ...]:
    rank = (len(shuffled) + 1) // 20
    chance = {name: sorted(values[name] for values in shuffled)[-rank] / total for name in shares}
    bars = (DimensionImportance(name, shares[name], chance[name]) for name in shares)
    return tuple(sorted(bars, key=lambda bar: -bar.share))


def _evaluate(evaluator: BaseImportanceEvaluator, study: optuna.Study, losses: NDArray[np.float64]) -> dict[str, float]:
    with warnings.catch_warnings():
        # Optuna warns that the target is minimized, which is intended, and of conditional values with few trials.
        warnings.simplefilter("ignore")
        values = evaluator.evaluate(study, target=lambda trial: float(losses[trial.number]))
    return {name: float(value) for name, value in values.items()}


def _shuffle(study: optuna.Study, names: Sequence[str], rng: np.random.Generator) -> None:
    """Permute the values of some dimensions over the trials."""
    trials = study.get_trials(deepcopy=False)
    for name in names:
        values = [trial.params[name] for trial in trials]
        for trial, index in zip(trials, rng.permutation(len(trials)), strict=True):
            trial.params[name] = values[index]


def _study(complete: pd.DataFrame, dimensions: Distributions) -> optuna.Study:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # Optuna logs a line about every new study.
    try:
        study = optuna.create_study()
    finally:
        optuna.logging.set_verbosity(verbosity)
    for row in complete.to_dict("records"):
        present = {name: dist for name, dist in dimensions.items() if not pd.isna(row[name])}
        params = {name: _value(row[name], dist) for name, dist in present.items()}
        study.add_trial(optuna.trial.create_trial(value=0.0, params=params, distributions=present))
    for trial in study.get_trials(deepcopy=False):
        # The storage copied them; Optuna groups trials by distribution, and comparing one object with itself is quick.
        trial.distributions = {name: dimensions[name] for name in trial.params}
    return study


def _value(cell: Any, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return next(choice for choice in distribution.choices if choice == cell)
    return int(cell) if isinstance(distribution, IntDistribution) else float(cell)
