"""Scores of many predictions on many resamples of the images, as matrix products.

scikit-learn has each of these metrics, but scores one prediction on one sample: a report needs millions of scores.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.config.trial_config import Metric

Scores = NDArray[np.float32]
Weights = NDArray[np.float32]


class Candidates(NamedTuple):
    """What could have been selected: every epoch of every completed trial, in the order of trials and epochs."""

    trials: NDArray[np.int64]
    """Trial number of each candidate, ascending, shape (candidates,)."""
    predicted: NDArray[np.int8]
    """Predicted grade of each image, shape (candidates, images)."""
    grades: NDArray[np.int64]
    """True grades, shape (images,)."""
    metric: Metric
    losses: NDArray[np.float32] | None = None
    """Negative log-likelihood of each image's true grade in nats, shape (candidates, images); for ``nll`` alone."""

    def scores(self, weights: Weights) -> Scores:
        """Score all candidates with the study's metric, higher is better; see :func:`weighted_scores`."""
        if self.losses is not None:
            return np.asarray(-(weights @ self.losses.T) / weights.sum(axis=1, keepdims=True))
        return weighted_scores(self.predicted, self.grades, weights, self.metric)

    def at(self, indices: NDArray[np.int64]) -> "Candidates":
        """Return some of the candidates."""
        losses = None if self.losses is None else self.losses[indices]
        return self._replace(trials=self.trials[indices], predicted=self.predicted[indices], losses=losses)


def resampled_weights(n_images: int, resamples: int, seed: int) -> Weights:
    """Draw bootstrap samples: how often each image was drawn, shape (resamples, images)."""
    drawn = np.random.default_rng(seed).multinomial(n_images, np.full(n_images, 1 / n_images), resamples)
    return drawn.astype(np.float32)


def weighted_scores(
    predicted: NDArray[np.int8], grades: NDArray[np.int64], weights: Weights, metric: Metric = "accuracy"
) -> Scores:
    """Score predictions on weighted images.

    Args:
        predicted: predicted grades, shape (candidates, images).
        grades: true grades, shape (images,).
        weights: how often each image counts, at least one of them in every row, shape (resamples, images).
        metric: accuracy, balanced accuracy or quadratic weighted kappa, as ``drft.metrics`` defines them.

    Returns:
        Scores of shape (resamples, candidates).
    """
    return {"accuracy": _accuracy, "balanced_accuracy": _balanced_accuracy, "qwk": _qwk}[metric](
        predicted, grades, weights
    )


def _accuracy(predicted: NDArray[np.int8], grades: NDArray[np.int64], weights: Weights) -> Scores:
    correct = (predicted == grades).astype(np.float32)
    return np.asarray(weights @ correct.T / weights.sum(axis=1, keepdims=True))


def _balanced_accuracy(predicted: NDArray[np.int8], grades: NDArray[np.int64], weights: Weights) -> Scores:
    total = np.zeros((len(weights), len(predicted)), dtype=np.float32)
    present = np.zeros((len(weights), 1), dtype=np.float32)
    for grade in np.unique(grades):
        of_grade = grades == grade
        drawn = weights[:, of_grade].sum(axis=1, keepdims=True)
        right = (predicted[:, of_grade] == grade).astype(np.float32)
        total += weights[:, of_grade] @ right.T / np.maximum(drawn, 1)
        present += drawn > 0
    return total / present


def _qwk(predicted: NDArray[np.int8], grades: NDArray[np.int64], weights: Weights) -> Scores:
    disagreement = (predicted.astype(np.float32) - grades.astype(np.float32)) ** 2
    observed = weights @ disagreement.T
    expected = np.zeros_like(observed)
    for grade in np.unique(predicted):
        distance = weights @ (grades - int(grade)).astype(np.float32)[:, None] ** 2
        expected += distance * (weights @ (predicted == grade).astype(np.float32).T)
    expected /= weights.sum(axis=1, keepdims=True)
    return np.where(expected > 0, 1 - observed / np.where(expected > 0, expected, 1), 0).astype(np.float32)
