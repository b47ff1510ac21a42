"""Cross-fitting: what keeping the best epoch gains on images that did not choose it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.analysis.estimators.intervals import Estimate, Withheld, percentile_interval

SPLITS = 100
"""Random halvings; each is used both ways."""

RESAMPLES = 1000
"""Bootstrap resamples of the images; each of them goes through all splits."""

MIN_IMAGES = 20
"""Below twenty images a half has fewer than ten, and chooses nearly at random."""


class CrossFitted(NamedTuple):
    """One trial: the best epoch against the last, over images."""

    trial: int
    n_images: int
    apparent: Estimate
    """Accuracy at the best epoch minus at the last one, on the images that chose the best epoch: optimistic."""
    honest: Estimate
    """The same, where half the images choose the epoch and the other half score it; mean over random halves."""
    optimism: float
    """Apparent minus honest."""


def cross_fitted(correct: Mapping[int, NDArray[np.bool_]], seed: int = 0) -> tuple[CrossFitted, ...] | Withheld:
    """Estimate for each trial how much higher its best epoch scores than its last.

    Args:
        correct: by trial, which images it got right at each epoch, shape (epochs, images).
        seed: of the halves and the resamples.

    The highest of several measurements on the same images is optimistic. Cross-fitting removes this: one half of the
    images chooses the epoch, the earliest on ties, and the other half scores it (Stone 1974). The figure is slightly
    too low, since half of the images choose worse than all. Intervals are percentile bootstraps over images; copies of
    one image stay in one half, so that none chooses and scores at once.

    Valid for these trained networks and independent images. Withheld without stored predictions, and below
    ``MIN_IMAGES`` images.
    """
    if not correct:
        return Withheld("no predictions of a completed trial are stored")
    n = min(right.shape[1] for right in correct.values())
    if n < MIN_IMAGES:
        return Withheld(f"halves need at least {MIN_IMAGES} validation images, there are {n}")
    return tuple(_compare(trial, right.astype(np.float64), seed) for trial, right in correct.items())


def _compare(trial: int, right: NDArray[np.float64], seed: int) -> CrossFitted:
    rng = np.random.default_rng(seed)
    n = right.shape[1]
    halves = rng.permuted(np.tile(np.arange(n) < n // 2, (SPLITS, 1)), axis=1).astype(np.float64)
    halves = np.concatenate([halves, 1 - halves])
    weights = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64)
    difference = right[right.mean(axis=1).argmax()] - right[-1]
    apparent = Estimate(float(difference.mean()), *percentile_interval(weights @ difference / n), n)
    replicas = np.array([_cross_fit(right, halves, row) for row in weights])
    honest = Estimate(_cross_fit(right, halves, np.ones(n)), *percentile_interval(replicas), n)
    return CrossFitted(trial, n, apparent, honest, apparent.value - honest.value)


def _cross_fit(right: NDArray[np.float64], halves: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return mean accuracy at the epoch chosen on each half minus that at the last epoch, on the other half."""
    rest = (1 - halves) * weights
    scores = rest @ right.T / np.maximum(1, rest.sum(axis=1, keepdims=True))
    chosen = ((halves * weights) @ right.T).argmax(axis=1)
    return float((scores[np.arange(len(scores)), chosen] - scores[:, -1]).mean())
