"""Calibration: whether images graded with 70 % confidence are graded rightly seven times out of ten."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from study.analysis.estimators.intervals import LEVEL, Estimate, Withheld, mean_estimate, proportion

Floats = NDArray[np.float64]

PER_BIN = 10
"""Images in a bin of the reliability curve; below, its accuracy could be nearly anything."""

MAX_BINS = 10
MIN_IMAGES = 2 * PER_BIN

DRAWS = 1000
"""How often outcomes are drawn from the confidences: their 95 % quantile then moves by 2 or 3 % from seed to seed."""

_LEAST = 1e-7
"""Smallest probability that is told from 0: stored probabilities are float16."""

_SHARPEST, _FLATTEST = 100.0, 0.01
"""Inverse temperatures beyond which none is looked for."""


class Bin(NamedTuple):
    """Images of neighbouring confidence: one point of the reliability curve."""

    confidence: float
    """Mean probability of the predicted grade."""
    accuracy: Estimate
    """Share graded rightly, with Wilson's interval."""


class Calibration(NamedTuple):
    """Probabilities of one training held against what came true."""

    n: int
    brier: Estimate
    """Mean squared distance of the probabilities from the truth, summed over grades (Brier 1950): 0 to 2; Student's t
    interval over images."""
    overconfidence: Estimate
    """Mean confidence minus accuracy; Student's t interval over images."""
    ece: float
    """Expected calibration error of the predicted grade, in bins of equal numbers of images."""
    ece_by_chance: float
    """What a perfectly calibrated training with the same confidences would show on average: bins are small."""
    ece_limit: float
    """What it would exceed in one of twenty cases; only an ``ece`` above shows miscalibration."""
    bins: tuple[Bin, ...]
    temperature: Estimate | Withheld
    """Divisor of the logits with the lowest cross-entropy: above 1, the training is too sure."""


def calibration(
    grades: NDArray[np.int64], probabilities: NDArray[np.floating], seed: int = 0
) -> Calibration | Withheld:
    """Hold probabilities against what came true.

    Args:
        grades: true grades, shape (images,).
        probabilities: class probabilities, shape (images, grades).
        seed: of the resampling.

    Bins hold equal numbers of images, which biases the ECE less than bins of equal width (Roelofs et al. 2022). For few
    images it still is far above 0, so what perfect calibration would show is given beside it, by drawing the outcomes
    from the confidences (Broecker & Smith 2007).

    Valid for independent images that took no part in training, from ``MIN_IMAGES`` on.
    """
    n = len(grades)
    if n < MIN_IMAGES:
        return Withheld(f"a reliability curve needs at least {MIN_IMAGES} images, there are {n}")
    shares = normalized(probabilities)
    confidence, right = shares.max(axis=1), shares.argmax(axis=1) == grades
    members = np.array_split(np.argsort(confidence, kind="stable"), min(MAX_BINS, n // PER_BIN))
    draws = np.random.default_rng(seed).random((DRAWS, n)) < confidence
    by_chance = _ece(confidence, draws, members)
    return Calibration(
        n=n,
        brier=mean_estimate(np.square(shares - np.eye(shares.shape[1])[grades]).sum(axis=1)),
        overconfidence=mean_estimate(confidence - right),
        ece=float(_ece(confidence, right[None], members)[0]),
        ece_by_chance=float(by_chance.mean()),
        ece_limit=float(np.quantile(by_chance, LEVEL)),
        bins=tuple(Bin(float(confidence[m].mean()), proportion(int(right[m].sum()), len(m))) for m in members),
        temperature=temperature(grades, shares),
    )


def temperature(grades: NDArray[np.int64], probabilities: NDArray[np.floating]) -> Estimate | Withheld:
    """Return the temperature (Guo et al. 2017) with the lowest cross-entropy, and its profile-likelihood interval.

    Arguments as in :func:`calibration`. A figure to read, applied to no prediction of the study. There is none where
    every image is graded rightly, or where the probabilities say nothing of the grades.
    """
    logits = _logits(probabilities)
    told = logits[np.arange(len(grades)), grades]

    def slope(inverse: float) -> float:
        return float((np.sum(special.softmax(inverse * logits, axis=1) * logits, axis=1) - told).sum())

    def loss(inverse: float) -> float:
        return float((special.logsumexp(inverse * logits, axis=1) - inverse * told).sum())

    if slope(_SHARPEST) <= 0:
        return Withheld("no temperature is too low for these images: each of them is graded rightly")
    if slope(_FLATTEST) >= 0:
        return Withheld("no temperature fits: the probabilities say nothing of the grades")
    best = float(optimize.brentq(slope, _FLATTEST, _SHARPEST))
    lowest, allowed = loss(best), float(stats.chi2.ppf(LEVEL, 1)) / 2

    def beyond(inverse: float) -> float:
        return loss(inverse) - lowest - allowed

    if beyond(_FLATTEST) <= 0 or beyond(_SHARPEST) <= 0:
        return Estimate(1 / best, None, None, len(grades))
    ends = optimize.brentq(beyond, best, _SHARPEST), optimize.brentq(beyond, _FLATTEST, best)
    return Estimate(1 / best, 1 / float(ends[0]), 1 / float(ends[1]), len(grades))


def tempered(probabilities: NDArray[np.floating], degrees: float) -> Floats:
    """Return the probabilities with their logits divided by a temperature, shape (images, grades)."""
    cooled: Floats = special.softmax(_logits(probabilities) / degrees, axis=1)
    return cooled


def cross_entropy(grades: NDArray[np.int64], probabilities: Floats) -> Floats:
    """Return the negative log-likelihood of each image in nats; a probability counts as at least 1e-7."""
    told: Floats = probabilities[np.arange(len(grades)), grades]
    losses: Floats = -np.log(np.maximum(told, _LEAST))
    return losses


def normalized(probabilities: NDArray[np.floating]) -> Floats:
    """Return float64 probabilities that sum to 1: stored ones are rounded to float16."""
    exact = probabilities.astype(np.float64)
    whole: Floats = exact / exact.sum(axis=-1, keepdims=True)
    return whole


def _logits(probabilities: NDArray[np.floating]) -> Floats:
    logits: Floats = np.log(np.maximum(normalized(probabilities), _LEAST))
    return logits


def _ece(confidence: Floats, right: NDArray[np.bool_], members: list[NDArray[np.intp]]) -> Floats:
    """Return the expected calibration error of each row of outcomes, shape (rows, images)."""
    surplus = right - confidence
    errors: Floats = np.sum([np.abs(surplus[:, inside].sum(axis=1)) for inside in members], axis=0)
    return errors / len(confidence)
