"""Made-up trials: which images each one gets right, with true accuracies that are known."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from study.analysis import Candidates

IMAGES = 83
"""The validation images of IDRiD."""

TEST_IMAGES = 103

ALIKE = 0.6
"""How much of what decides about an image all trials have in common; two trials with 60 % then differ on some 28 %."""


def right(
    rng: np.random.Generator, accuracies: Sequence[float], images: int, in_common: float = ALIKE
) -> NDArray[np.bool_]:
    """Draw which images each trial gets right, shape (trials, images).

    A trial errs on an image when a normal number exceeds what its accuracy allows; a share ``in_common`` of its
    variance is the image's own, so that images are hard or easy for all trials.
    """
    image, own = rng.normal(size=images), rng.normal(size=(len(accuracies), images))
    return in_common**0.5 * image + (1 - in_common) ** 0.5 * own < stats.norm.ppf(accuracies)[:, None]


def spread(rng: np.random.Generator, trials: int, around: float = 0.55, sd: float = 0.06) -> NDArray[np.float64]:
    """Draw true accuracies of trials."""
    return np.clip(rng.normal(around, sd, trials), 0.2, 0.9)


def planted(rng: np.random.Generator, trials: int, share: float, gain: float, base: float = 0.5) -> NDArray[np.float64]:
    """Draw true accuracies of trials of which some are better than the rest."""
    return np.where(rng.random(trials) < share, base + gain, base)


def candidates(correct: NDArray[np.bool_], steps: int = 1) -> Candidates:
    """Return trials with so many steps each as candidates, from what they get right."""
    numbers = np.repeat(np.arange(len(correct) // steps), steps)
    return Candidates(numbers, correct.astype(np.int8), np.ones(correct.shape[1], dtype=np.int64), "accuracy")
