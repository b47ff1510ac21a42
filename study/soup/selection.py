"""Candidates that can be made of some trials, and rules that choose among them by validation scores.

Every non-empty subset of k trials makes a soup (averaged weights) and an ensemble (averaged probabilities); the first
trial can also be interpolated with its pretrained weights. A subset is a bit mask: the one at index i contains trial j
if bit j of i + 1 is set. Candidates are numbered by column: all soups, then all ensembles, then the interpolations.
Scores have one row per sample of the images.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.config.trial_config import Metric
from study.analysis.estimators.calibration import cross_entropy
from study.analysis.estimators.resampling import weighted_scores

ALPHAS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
"""Shares of the tuned weights in an interpolation; 1 comes first, so that ties keep the trial as it is."""

Floats = NDArray[np.float64]
Scores = NDArray[np.floating]
Columns = NDArray[np.int64]
"""One candidate for each sample, shape (samples,)."""

_ROUNDING = 1e-6
"""Scores that differ by less are ties."""


class EnsembleRecipe(NamedTuple):
    """How a candidate is made."""

    name: str
    kind: str
    """``weights`` for one network, ``probabilities`` for the mean over the networks of all trials."""
    trials: tuple[int, ...]
    alpha: float | None = None
    """Share of the tuned weights: 0 is the pretrained backbone; None if the weights are not interpolated."""


def subset_count(k: int) -> int:
    """Return the number of non-empty subsets of k trials."""
    return (1 << k) - 1


def candidate_count(k: int) -> int:
    """Return the number of candidates of k trials."""
    return 2 * subset_count(k) + len(ALPHAS)


def members_of(index: int, trials: Sequence[int]) -> tuple[int, ...]:
    """Return the trials of the subset at an index."""
    return tuple(trial for bit, trial in enumerate(trials) if (index + 1) >> bit & 1)


def recipe_at(name: str, column: int, trials: Sequence[int]) -> EnsembleRecipe:
    """Return how the candidate in a column is made."""
    subsets = subset_count(len(trials))
    if column < 2 * subsets:
        kind = "weights" if column < subsets else "probabilities"
        return EnsembleRecipe(name, kind, members_of(column % subsets, trials))
    alpha = ALPHAS[column - 2 * subsets]
    return EnsembleRecipe(name, "weights", (trials[0],), None if alpha == 1 else alpha)


class EnsembleCandidates(NamedTuple):
    """The predictions of all candidates for the validation images."""

    trials: tuple[int, ...]
    """Numbers of the trials that are combined, best first."""
    probabilities: Floats
    """Shape (candidates, images, grades)."""
    grades: NDArray[np.int64]
    """True grades, shape (images,)."""
    metric: Metric

    def scores(self, weights: NDArray[np.float32]) -> Scores:
        """Score all candidates on weighted images.

        Args:
            weights: shape (samples, images).

        Returns:
            Scores of shape (samples, candidates), higher is better.
        """
        if self.metric == "nll":
            losses = np.array([cross_entropy(self.grades, predictions) for predictions in self.probabilities])
            return np.asarray(-(weights @ losses.T) / weights.sum(axis=1, keepdims=True))
        return weighted_scores(self.probabilities.argmax(axis=2).astype(np.int8), self.grades, weights, self.metric)


RULES = {
    "WiSE-FT": "first trial",
    "uniform soup": "best trial",
    "greedy soup": "best trial",
    "uniform ensemble": "best trial",
    "selected ensemble": "best trial",
}
"""Each rule with the single trial that its choice is compared with by cross-fitting."""


def choose_columns(scores: Scores, k: int) -> dict[str, Columns]:
    """Return the choice of every rule, and the single trials that the choices are compared with.

    Args:
        scores: of all candidates, shape (samples, candidates).
        k: number of trials.
    """
    samples, subsets, singles = len(scores), subset_count(k), _single_trials(k)
    soups, ensembles, interpolations = np.split(scores, [subsets, 2 * subsets], axis=1)
    return {
        "first trial": np.zeros(samples, dtype=np.int64),
        "best trial": singles[_first_best(soups[:, singles])],
        "WiSE-FT": 2 * subsets + _first_best(interpolations),
        "uniform soup": np.full(samples, subsets - 1),
        "greedy soup": greedy_subset(soups, k),
        "uniform ensemble": np.full(samples, 2 * subsets - 1),
        "selected ensemble": subsets + forward_subset(ensembles, k),
    }


def choose_recipes(candidates: EnsembleCandidates) -> dict[EnsembleRecipe, float]:
    """Apply every rule to all validation images; return the chosen recipes with their scores, the best trial first."""
    (scores,) = candidates.scores(np.ones((1, len(candidates.grades)), dtype=np.float32))
    columns = choose_columns(scores[None], len(candidates.trials))
    recipes = {}
    for name in ("best trial", *RULES):
        column = int(columns[name][0])
        recipes[recipe_at(name, column, candidates.trials)] = float(scores[column])
    return recipes


def greedy_subset(scores: Scores, k: int) -> Columns:
    """Return the index of the greedy soup: add the trials, best first, and keep each that does not lower the score.

    Wortsman et al. 2022 (ICML), recipe 1; the authors' program keeps a trial only if it raises the score.

    Args:
        scores: of all subsets of the trials, shape (samples, subsets).
        k: number of trials.
    """
    rows = np.arange(len(scores))
    order = np.argsort(-np.round(scores[:, _single_trials(k)], 6), axis=1, kind="stable")
    soup = 1 << order[:, 0]
    for rank in range(1, k):
        larger = soup | (1 << order[:, rank])
        is_kept = scores[rows, larger - 1] >= scores[rows, soup - 1] - _ROUNDING
        soup = np.where(is_kept, larger, soup)
    return np.asarray(soup - 1)


def forward_subset(scores: Scores, k: int) -> Columns:
    """Return the index of the best subset on the path that always adds the trial with the highest resulting score.

    Ensemble selection (Caruana et al. 2004) without replacement; of equal subsets the smallest. Arguments as in
    :func:`greedy_subset`.
    """
    rows = np.arange(len(scores))
    subset = np.zeros(len(scores), dtype=np.int64)
    path = []
    for _ in range(k):
        larger = subset[:, None] | (1 << np.arange(k))
        is_new = larger != subset[:, None]
        subset = larger[rows, _first_best(np.where(is_new, scores[rows[:, None], larger - 1], -np.inf))]
        path.append(subset)
    subsets = np.array(path).T
    return np.asarray(subsets[rows, _first_best(scores[rows[:, None], subsets - 1])] - 1)


def _single_trials(k: int) -> Columns:
    """Return the indices of the subsets of one trial, by trial."""
    return (1 << np.arange(k)) - 1


def _first_best(scores: Scores) -> Columns:
    """Return the first of the best columns of each row."""
    return np.asarray((scores >= scores.max(axis=1, keepdims=True) - _ROUNDING).argmax(axis=1))
