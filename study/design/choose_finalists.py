"""Choose the finalists of a study: for each depth the configurations with the best expected scores.

The best observed score of a search is mostly luck: it is the highest of many noisy ones. The expected score comes from
a regression over all trials, which shrinks each observation towards what trials with similar settings and depths
scored.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import BayesianRidge

from drft.config.trial_config import Metric, TrialConfig, config_paths
from drft.config.validation import contradictions
from study.pruners.predictive import predict_final
from study.results.confirmation_plan import at_possible_depth
from study.results.finalists_plan import FOLDS, MOST_DEPTHS, ROUNDS, UNTUNED, Finalist
from study.results.metric_names import epoch_scores
from study.results.study_results import StudyResults
from study.space import BoundSpace, Value
from study.space.settings import get_setting

DEPTH = "depth"

_COMMON = ("backbone.", "image_size", "head_phase.epochs", "depth_phase.epochs")
"""What all configurations of a finalist have in common: an ensemble has one kind of input, and the folds of a round
choose each other's epochs."""

_TREES = 300
"""Trees of the regression: ten times as many change expected scores by less than a tenth of a point on average."""


def choose_finalists(study: StudyResults, space: BoundSpace) -> tuple[Finalist, ...]:
    """Return one finalist for each depth, shallowest first, then the untuned configuration.

    Its first round has the best configuration, later ones have the next best. A depth can have the settings of any
    trial, and those of the base configuration: what counts is the score that the regression expects of them at this
    depth.

    Args:
        study: a study that searched the depth, with at least one trial that has a score.
        space: its search space.
    """
    base = TrialConfig.model_validate(study.info.base_config)
    names = [name for name in space.distributions if name != DEPTH]
    base_settings = {name: get_setting(base, name) for name in names}
    trials = study.finished[study.finished["number"].isin(study.epochs["trial"])]  # damaged ones have no epochs
    settings = [_settings(row, names, base_settings) for row in trials.to_dict("records")]
    depths = trials["depth"].to_numpy(dtype=np.float64)
    blocks = len(study.info.blocks)
    encoder = SettingsEncoder({name: space.distributions[name] for name in names})
    model = ScoreModel(encoder.encode(settings), depths / blocks, _block_features(trials), _targets(study, trials))
    numbers: list[int | None] = [*map(int, trials["number"]), None]
    settings.append(base_settings)
    encoded = encoder.encode(settings)
    finalists = []
    for depth in _spread([int(str(value)) for value in space.values(DEPTH)]):
        expected = model.predict(encoded, np.full(len(settings), depth / blocks))
        ranked = _ranked(space, settings, expected, depth)
        if best := next(ranked, None):
            position, config = best
            score, others = float(expected[position]), _next_best(config, (other for _, other in ranked))
            finalists.append(Finalist(f"depth {depth}", depth, numbers[position], score, config, others))
    untuned = at_possible_depth(base, blocks)
    return (*finalists, Finalist(UNTUNED, untuned.depth, None, None, untuned))


def _ranked(
    space: BoundSpace, settings: Sequence[Mapping[str, Value]], expected: NDArray[np.float64], depth: int
) -> Iterator[tuple[int, TrialConfig]]:
    """Yield position and configuration of the settings that are possible at a depth, best expected score first."""
    for position in np.argsort(-expected, kind="stable"):
        config = _configure(space, settings[position], depth)
        if not any(contradictions(config)):
            yield int(position), config


def _next_best(best: TrialConfig, others: Iterable[TrialConfig]) -> tuple[dict[str, Any], ...]:
    """Return what the next configurations have otherwise than the best one, one for each fold of the later rounds."""
    found: list[dict[str, Any]] = []
    for other in others:
        values = {path: get_setting(other, path) for path in config_paths()}
        settings = {path: value for path, value in values.items() if value != get_setting(best, path)}
        if settings and settings not in found and not any(path.startswith(_COMMON) for path in settings):
            found.append(settings)
        if len(found) == FOLDS * (ROUNDS - 1):
            break
    return tuple(found)


def final_scores(study: StudyResults, trials: pd.DataFrame, metric: Metric) -> NDArray[np.float64]:
    """Return the best score of each trial, shape (trials,); that of a pruned one is predicted from the completed ones.

    Args:
        study: the study of the trials.
        trials: rows of its table of trials.
        metric: the score; not necessarily that of the study.
    """
    completed = set(study.complete["number"].astype(int))
    curves = {
        int(str(number)): np.maximum.accumulate(epoch_scores(epochs, metric).to_numpy(dtype=np.float64))
        for number, epochs in study.epochs.groupby("trial")
    }
    whole = [curve for number, curve in curves.items() if number in completed]
    scores = np.empty(len(trials))
    for position, (number, state) in enumerate(zip(trials["number"].astype(int), trials["state"], strict=True)):
        curve = curves[number]
        scores[position] = curve[-1]
        longer = [other for other in whole if len(other) >= len(curve)]
        if state != "COMPLETE" and len(longer) > 2:
            early, final = zip(*((other[len(curve) - 1], other[-1]) for other in longer), strict=True)
            scores[position] = predict_final(early, final, scores[position]).score
    return scores


def _targets(study: StudyResults, trials: pd.DataFrame) -> NDArray[np.float64]:
    """Return what the regression learns: the mean of the score and of the likelihood on the scale of the score.

    The mean log-likelihood of the true classes separates settings on few images, where an accuracy is mostly noise. A
    training that is certain of wrong classes counts as one that is half as likely right as chance.
    """
    scores = final_scores(study, trials, study.info.metric)
    least = -np.log(2 * len(study.info.classes))
    likelihoods = np.maximum(final_scores(study, trials, "nll"), least)
    spread = likelihoods.std()
    if not spread:
        return scores
    scaled = scores.mean() + (likelihoods - likelihoods.mean()) / spread * scores.std()
    targets: NDArray[np.float64] = (scores + scaled) / 2
    return targets


class ScoreModel:
    """Expects a score of settings at a depth: the mean of a smooth regression and of one by trees.

    On full searches, the mean predicts held-out trials better than each of the two. The splits of blocks differ in
    difficulty; the regression estimates that, and the trees see scores without it.

    Args:
        encoded: settings of the trials, shape (trials, numbers).
        depths: their depth fractions, shape (trials,).
        splits: which split each trial has, shape (trials, splits).
        scores: what they scored, shape (trials,).
    """

    def __init__(
        self,
        encoded: NDArray[np.float64],
        depths: NDArray[np.float64],
        splits: NDArray[np.float64],
        scores: NDArray[np.float64],
    ) -> None:
        smooth = _features(encoded, depths)
        self._smooth = BayesianRidge().fit(np.hstack([smooth, splits]), scores)
        self._splits = splits.shape[1]
        difficulty = splits @ self._smooth.coef_[smooth.shape[1] :]
        self._trees = ExtraTreesRegressor(_TREES, min_samples_leaf=3, random_state=0)
        self._trees.fit(np.column_stack([depths, encoded]), scores - difficulty)

    def predict(self, encoded: NDArray[np.float64], depths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the expected scores, shape (settings,), on a split of mean difficulty."""
        smooth = _features(encoded, depths)
        by_smooth = self._smooth.predict(np.hstack([smooth, np.zeros((len(smooth), self._splits))]))
        by_trees = self._trees.predict(np.column_stack([depths, encoded]))
        expected: NDArray[np.float64] = (by_smooth + by_trees) / 2
        return expected


class SettingsEncoder:
    """Turns settings into numbers from -1 to 1; a category becomes one number for each of its values.

    Args:
        distributions: of every setting.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self._distributions = distributions

    def encode(self, settings: Sequence[Mapping[str, Value]]) -> NDArray[np.float64]:
        """Return an array of shape (settings, numbers)."""
        columns: list[NDArray[np.float64]] = [np.zeros((len(settings), 0))]
        for name, distribution in self._distributions.items():
            values = [row[name] for row in settings]
            match distribution:
                case CategoricalDistribution(choices=choices):
                    columns.append(np.array([[float(value == choice) for choice in choices] for value in values]))
                case FloatDistribution() | IntDistribution():
                    numbers = np.array(values, dtype=np.float64)
                    low, high = float(distribution.low), float(distribution.high)
                    if distribution.log:
                        numbers, low, high = np.log(numbers), np.log(low), np.log(high)
                    scaled = 2 * (numbers - low) / (high - low) - 1 if high > low else np.zeros(len(numbers))
                    columns.append(np.clip(scaled, -1, 1)[:, None])  # the base configuration may lie outside
        return np.concatenate(columns, axis=1)


def _features(encoded: NDArray[np.float64], depths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the terms of the regression: depth and settings to the second degree, and how they interact."""
    depth = (2 * depths - 1)[:, None]
    return np.concatenate([depth, depth**2, encoded, encoded**2, encoded * depth], axis=1)


def _block_features(trials: pd.DataFrame) -> NDArray[np.float64]:
    """Return a term for each block of trials, shape (trials, blocks): some splits are easier than others."""
    blocks = trials["block"].fillna(0).astype(int).to_numpy()
    terms: NDArray[np.float64] = (blocks[:, None] == np.unique(blocks)).astype(np.float64)
    return terms


def _settings(row: Mapping[Any, Any], names: Sequence[str], base: Mapping[str, Value]) -> dict[str, Value]:
    """Return the settings of a trial; one that is inactive in it has its value in the base configuration."""
    values = {name: row.get(name) for name in names}  # one that was active in no trial has no column
    return {name: base[name] if pd.isna(value) else value for name, value in values.items()}


def _configure(space: BoundSpace, settings: Mapping[str, Value], depth: int) -> TrialConfig:
    """Return the configuration with these settings at a depth; those that are inactive there stay as in the base."""
    params: dict[str, Value] = {}
    for dimension in space.dimensions:
        if dimension.active(params):
            params[dimension.path] = depth if dimension.path == DEPTH else settings[dimension.path]
    return space.configure(params)


def _spread(depths: Sequence[int]) -> list[int]:
    """Return at most ``MOST_DEPTHS`` depths, evenly spread, with the first and the last."""
    ordered = sorted(depths)
    if len(ordered) <= MOST_DEPTHS:
        return ordered
    positions = np.linspace(0, len(ordered) - 1, MOST_DEPTHS).round().astype(int)
    return [ordered[position] for position in positions]
