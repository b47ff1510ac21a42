"""Everything that could be chosen from a set of trials: every soup, every ensemble, every interpolation."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.config.trial_config import Metric
from study.analysis import cross_entropy
from study.analysis.estimators.resampling import weighted_scores
from study.soup import select as choice
from study.soup.select import Chosen, Scores

ALPHAS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
"""The grid of interpolation, the tuned weights first: on ties the trial stays as it is."""

Floats = NDArray[np.float64]


class EnsembleCandidates(NamedTuple):
    """What each candidate says of the validation images."""

    trials: tuple[int, ...]
    """Numbers of the trials that are put together, best first."""
    soups: Floats
    """Probabilities by averaged weights, shape (subsets, images, grades), in the order of ``choice.subsets``."""
    ensembles: Floats
    """Averaged probabilities, likewise."""
    interpolated: Floats
    """The best trial between its tuned and its pretrained weights, shape (alphas, images, grades)."""
    grades: NDArray[np.int64]
    metric: Metric

    @property
    def k(self) -> int:
        """How many trials there are."""
        return len(self.trials)

    def scores(self, weights: NDArray[np.float32]) -> "ResampledScores":
        """Score all candidates on weighted images, shape (samples, images)."""
        said = np.concatenate([self.soups, self.ensembles, self.interpolated])
        if self.metric == "nll":
            losses = np.array([cross_entropy(self.grades, one) for one in said])
            return ResampledScores(self.k, -(weights @ losses.T) / weights.sum(axis=1, keepdims=True))
        predicted = said.argmax(axis=2).astype(np.int8)
        return ResampledScores(self.k, weighted_scores(predicted, self.grades, weights, self.metric))


class ResampledScores(NamedTuple):
    """Scores of all candidates on some samples of the images."""

    k: int
    scores: Scores
    """Shape (samples, candidates): soups, ensembles, interpolations of the first trial."""

    @property
    def _subsets(self) -> int:
        return (1 << self.k) - 1

    @property
    def soups(self) -> Scores:
        """Of the soups."""
        return self.scores[:, : self._subsets]

    def at(self, columns: Chosen) -> Scores:
        """Return the score of one candidate on each sample."""
        return self.scores[np.arange(len(self.scores)), columns]

    def best_trial(self) -> Chosen:
        """Return the candidate that is the best single trial."""
        return choice.single(choice.best_single(self.soups, self.k))

    def interpolated(self) -> Chosen:
        """Return the best interpolation of the first trial."""
        return 2 * self._subsets + choice.first_best(self.scores[:, 2 * self._subsets :])

    def uniform_soup(self) -> Chosen:
        """Return the soup of all."""
        return np.full(len(self.scores), self._subsets - 1)

    def greedy_soup(self) -> Chosen:
        """Return the greedy soup."""
        return choice.greedy(self.soups, self.k)

    def uniform_ensemble(self) -> Chosen:
        """Return the ensemble of all."""
        return np.full(len(self.scores), 2 * self._subsets - 1)

    def selected_ensemble(self) -> Chosen:
        """Return the ensemble that forward selection finds."""
        return self._subsets + choice.forward(self.scores[:, self._subsets : 2 * self._subsets], self.k)

    def first_trial(self) -> Chosen:
        """Return the first trial, whatever it scores on a sample."""
        return np.zeros(len(self.scores), dtype=np.int64)


Rule = Callable[[ResampledScores], Chosen]

RULES: Mapping[str, tuple[Rule, Rule]] = {
    "WiSE-FT": (ResampledScores.interpolated, ResampledScores.first_trial),
    "uniform soup": (ResampledScores.uniform_soup, ResampledScores.best_trial),
    "greedy soup": (ResampledScores.greedy_soup, ResampledScores.best_trial),
    "uniform ensemble": (ResampledScores.uniform_ensemble, ResampledScores.best_trial),
    "selected ensemble": (ResampledScores.selected_ensemble, ResampledScores.best_trial),
}
"""How each mixture is chosen, and the single trial it is held against where other images choose than score."""


class EnsembleRecipe(NamedTuple):
    """How a candidate is made."""

    name: str
    kind: str
    """``weights`` where it is one network, ``probabilities`` where the networks of all trials are asked."""
    trials: tuple[int, ...]
    alpha: float | None = None
    """Of an interpolation: 0 is the pretrained backbone; None for the tuned weights themselves."""


def recipes(found: EnsembleCandidates) -> tuple[EnsembleRecipe, ...]:
    """Choose on all validation images: the best trial first, then what each rule takes."""
    scored = found.scores(np.ones((1, len(found.grades)), dtype=np.float32))
    columns = {"best trial": scored.best_trial(), **{name: rule(scored) for name, (rule, _) in RULES.items()}}
    return tuple(recipe_at(name, int(column[0]), found.trials) for name, column in columns.items())


def recipe_at(name: str, column: int, trials: Sequence[int]) -> EnsembleRecipe:
    """Return how the candidate in a column of ``Scored.scores`` is made."""
    mixtures = (1 << len(trials)) - 1
    if column < 2 * mixtures:
        kind = "weights" if column < mixtures else "probabilities"
        return EnsembleRecipe(name, kind, choice.members_of(column % mixtures, trials))
    alpha = ALPHAS[column - 2 * mixtures]
    return EnsembleRecipe(name, "weights", (trials[0],), None if alpha == 1 else alpha)
