"""What each rule of choosing is worth on images that did not choose."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from study.analysis import (
    Calibration,
    Estimate,
    Withheld,
    bootstrap_mean,
    calibration,
    cross_entropy,
    temperature,
    tempered,
)
from study.analysis.estimators.intervals import LEVEL
from study.soup.candidates import RULES, EnsembleCandidates

SPLITS = 50
"""Random halvings; each is used both ways."""

RESAMPLES = 500
"""Bootstrap resamples of the images; every one of them goes through all splits."""

TEMPERED_SPLITS = 10
"""Halvings for the temperature, each of which is fitted twice."""

MIN_IMAGES = 40
"""With twenty in a half no bootstrap resample leaves one empty."""

Floats = NDArray[np.float64]


def cross_fitted_gains(found: EnsembleCandidates, seed: int = 0) -> Mapping[str, Estimate] | Withheld:
    """Return what each rule gains over the best single trial in the study's score, on images that chose neither.

    One half of the images chooses the mixture, and the best single trial as well; the other half scores both; mean
    over random halves (Stone 1974). WiSE-FT is held against the one trial that it interpolates. Intervals are
    percentile bootstraps over images, copies of one image in one half. Half the images choose worse than
    all, and the trials' best epochs, and which trials are looked at at all, were chosen on all of them: that is not
    undone here.
    """
    n = len(found.grades)
    if n < MIN_IMAGES:
        return Withheld(f"halves need at least {MIN_IMAGES} validation images, there are {n}")
    rng = np.random.default_rng(seed)
    halves = _halves(rng, n, SPLITS).astype(np.float32)
    drawn = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float32)
    values = _gains(found, halves)
    replicas = np.array([_gains(found, halves, weights) for weights in drawn])
    low, high = np.quantile(replicas, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return {name: Estimate(float(values[at]), float(low[at]), float(high[at]), n) for at, name in enumerate(RULES)}


def cross_fitted_temperature(
    grades: NDArray[np.int64], probabilities: Floats, seed: int = 0
) -> tuple[Estimate, float] | Withheld:
    """Return cross-entropy and calibration error where one half of the images fits the temperature of the other.

    Means over random halves. The interval is that of a mean over images, given the temperatures. Where a half has
    no temperature (each image of it is graded rightly) the probabilities stay as they are.

    Args:
        grades: true grades, shape (images,).
        probabilities: class probabilities, shape (images, grades).
        seed: of the halves.
    """
    n = len(grades)
    if n < MIN_IMAGES:
        return Withheld(f"halves need at least {MIN_IMAGES} validation images, there are {n}")
    losses, errors = [], []
    for half in _halves(np.random.default_rng(seed), n, TEMPERED_SPLITS)[:TEMPERED_SPLITS]:
        cooled = np.empty(probabilities.shape)
        for fits in (half, ~half):
            cooled[~fits] = _cooled(grades[fits], probabilities[fits], probabilities[~fits])
        losses.append(cross_entropy(grades, cooled))
        calibrated = calibration(grades, cooled)
        assert isinstance(calibrated, Calibration)
        errors.append(calibrated.ece)
    return bootstrap_mean(np.mean(losses, axis=0)), float(np.mean(errors))


def _cooled(grades: NDArray[np.int64], fitting: Floats, others: Floats) -> Floats:
    degrees = temperature(grades, fitting)
    return others if isinstance(degrees, Withheld) else tempered(others, degrees.value)


def _halves(rng: np.random.Generator, n: int, splits: int) -> NDArray[np.bool_]:
    """Return random halves, shape (2 * splits, n): the second ``splits`` rows are the rest of the first."""
    halves = rng.permuted(np.tile(np.arange(n) < n // 2, (splits, 1)), axis=1)
    return np.concatenate([halves, ~halves])


def _gains(
    found: EnsembleCandidates, halves: NDArray[np.float32], weights: NDArray[np.float32] | float = 1.0
) -> Floats:
    """Return the mean gain of each rule over halves."""
    inner, outer = found.scores(halves * weights), found.scores((1 - halves) * weights)
    return np.array([float((outer.at(rule(inner)) - outer.at(alone(inner))).mean()) for rule, alone in RULES.values()])
