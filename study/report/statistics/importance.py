"""Which dimensions decide: PED-ANOVA, with what chance alone would give beside it."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial

from study.report.statistics.intervals import Withheld

Target = Literal["score", "gap_last"]

MIN_TRIALS = 20
PERMUTATIONS = 100
IN_TOP = 5
"""PED-ANOVA compares the best trials with all; below five best ones its densities are guesswork (Optuna's advice)."""


class Bar(NamedTuple):
    """Importance of one dimension."""

    dimension: str
    share: float
    """Share of the summed importance of all dimensions."""
    chance: float
    """What the dimension reaches in 95 % of studies whose scores have nothing to do with it, on the same scale."""


class Importance(NamedTuple):
    """Importance of every dimension for one target, largest first."""

    target: Target
    n: int
    top: float
    """Share of trials that count as the best ones."""
    bars: tuple[Bar, ...]


def importance(
    complete: pd.DataFrame, dimensions: Mapping[str, BaseDistribution], target: Target, seed: int = 0
) -> Importance | Withheld:
    """Return the PED-ANOVA importance (Watanabe, Bansal & Hutter 2023) of each dimension.

    It says which dimensions set the best trials (highest validation score, or smallest gap at the last step) apart
    from all completed ones. ``chance`` is the 95 % quantile of the same figure when the target is shuffled over the
    trials, 100 times.

    Valid from 20 completed trials and two dimensions that vary. It describes the region the sampler visited (TPE
    crowds around good values), leaves pruned trials out, and knows no interactions.
    """
    if len(complete) < MIN_TRIALS:
        return Withheld(f"importance needs at least {MIN_TRIALS} completed trials, there are {len(complete)}")
    searched = {name: dist for name, dist in dimensions.items() if not dist.single() and complete[name].notna().any()}
    if len(searched) < 2:
        return Withheld("importance compares dimensions, and fewer than two were searched")
    scores = complete[target].to_numpy(dtype=np.float64) * (-1 if target == "score" else 1)
    if np.ptp(scores) == 0:
        return Withheld("all completed trials have the same score")
    top = max(0.1, IN_TOP / len(complete))
    bars = _bars(_evaluator(complete, searched, top), scores, seed)
    return Importance(target, len(complete), top, bars) if bars else Withheld("no dimension sets the best trials apart")


Evaluator = Callable[[NDArray[np.float64]], dict[str, float]]


def _bars(evaluate: Evaluator, scores: NDArray[np.float64], seed: int) -> tuple[Bar, ...]:
    found = evaluate(scores)
    total = sum(found.values())
    if total <= 0:
        return ()
    rng = np.random.default_rng(seed)
    shuffled = pd.DataFrame([evaluate(rng.permutation(scores)) for _ in range(PERMUTATIONS)])
    chance = shuffled.quantile(0.95)
    bars = [Bar(name, value / total, float(chance[name]) / total) for name, value in found.items()]
    return tuple(sorted(bars, key=lambda bar: -bar.share))


def _evaluator(complete: pd.DataFrame, dimensions: Mapping[str, BaseDistribution], top: float) -> Evaluator:
    study = _silent_study()
    study.add_trials([_frozen(row, dimensions) for row in complete.to_dict("records")])
    pedanova = PedAnovaImportanceEvaluator(target_quantile=top)

    def evaluate(scores: NDArray[np.float64]) -> dict[str, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lower is better, as it is told; rare conditional values have few trials
            return pedanova.evaluate(study, list(dimensions), target=lambda trial: float(scores[trial.number]))

    return evaluate


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
