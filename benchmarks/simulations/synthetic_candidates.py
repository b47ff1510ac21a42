"""Synthetic trials with known true accuracies: which images each of them predicts correctly."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from study.analysis.estimators.resampling import Candidates

IMAGES = 83
"""The validation images of IDRiD."""

TEST_IMAGES = 103

CORRELATION = 0.6
"""Correlation of two trials' errors on an image; two trials with 60 % then differ on about 28 % of the images."""


def draw_correct(
    rng: np.random.Generator,
    accuracies: Sequence[float] | NDArray[np.float64],
    images: int,
    correlation: float = CORRELATION,
) -> NDArray[np.bool_]:
    """Draw which images each trial predicts correctly, shape (trials, images).

    A trial errs on an image when a normal number exceeds a threshold that follows from its accuracy. The share
    ``correlation`` of its variance belongs to the image, so images are difficult or easy for all trials.
    """
    image, own = rng.normal(size=images), rng.normal(size=(len(accuracies), images))
    difficulty = correlation**0.5 * image + (1 - correlation) ** 0.5 * own
    return np.asarray(difficulty < stats.norm.ppf(accuracies)[:, None], dtype=np.bool_)


def draw_accuracies(rng: np.random.Generator, trials: int, mean: float = 0.55, sd: float = 0.06) -> NDArray[np.float64]:
    """Draw true accuracies of trials from a normal distribution."""
    return np.clip(rng.normal(mean, sd, trials), 0.2, 0.9)


def draw_two_accuracies(
    rng: np.random.Generator, trials: int, share: float, gain: float, base: float = 0.5
) -> NDArray[np.float64]:
    """Draw true accuracies of trials of which a share is better than the others by ``gain``."""
    return np.where(rng.random(trials) < share, base + gain, base)


def as_candidates(correct: NDArray[np.bool_], steps: int = 1) -> Candidates:
    """Return trials of ``steps`` epochs each as candidates, from the images that they predict correctly."""
    numbers = np.repeat(np.arange(len(correct) // steps), steps)
    return Candidates(numbers, correct.astype(np.int8), np.ones(correct.shape[1], dtype=np.int64), "accuracy")
