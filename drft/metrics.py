"""Scores of one part of the data set, from class probabilities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Scores:
    """Accuracy, mean cross-entropy (nats), quadratic weighted kappa and balanced accuracy."""

    accuracy: float
    loss: float
    qwk: float
    balanced_accuracy: float


def score(log_probabilities: NDArray[np.float32], grades: NDArray[np.int64]) -> Scores:
    """Score predictions.

    Args:
        log_probabilities: natural logarithms of class probabilities, shape (images, grades).
        grades: true grades, shape (images,).

    Raises:
        ValueError: when there is no image.
    """
    if len(grades) == 0:
        raise ValueError("no image to score")
    counts = confusion(grades, log_probabilities.argmax(axis=1), log_probabilities.shape[1])
    loss = -float(np.mean(log_probabilities[np.arange(len(grades)), grades], dtype=np.float64))
    return Scores(float(np.trace(counts)) / len(grades), loss, qwk(counts), balanced_accuracy(counts))


def confusion(grades: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Count images by true grade (rows) and predicted grade (columns), shape (classes, classes)."""
    return np.bincount(grades * classes + predicted, minlength=classes**2).reshape(classes, classes)


def qwk(counts: NDArray[np.int64]) -> float:
    """Quadratic weighted kappa (Cohen 1968): one minus weighted disagreement over that expected by chance.

    Args:
        counts: confusion matrix, shape (classes, classes).

    Returns:
        A value up to 1. Where chance agreement is certain (truth and predictions are all one same grade) kappa is
        undefined; 0 is returned: no agreement beyond chance was shown.
    """
    grade = np.arange(len(counts))
    weights = (grade[:, None] - grade[None, :]) ** 2
    by_chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    expected = float((weights * by_chance).sum())
    return 1.0 - float((weights * counts).sum()) / expected if expected else 0.0


def balanced_accuracy(counts: NDArray[np.int64]) -> float:
    """Mean recall over the grades that occur (Brodersen et al. 2010)."""
    occurring = counts.sum(axis=1)
    present = occurring > 0
    return float(np.mean(np.diag(counts)[present] / occurring[present]))
