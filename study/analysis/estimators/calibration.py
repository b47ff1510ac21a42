"""Calibration: whether seven of ten images that are graded with 70 % confidence are graded correctly."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from study.analysis.estimators.intervals import LEVEL, Estimate, Withheld, mean_estimate, proportion

Floats = NDArray[np.float64]

PER_BIN = 10
"""Images in a bin of the reliability curve; the accuracy of fewer is too uncertain to plot."""

MAX_BINS = 10
MIN_IMAGES = 2 * PER_BIN

DRAWS = 1000
"""How often outcomes are drawn from the confidences: their 95 % quantile then moves by 2 or 3 % from seed to seed."""

_SMALLEST = 1e-7
"""Smaller probabilities count as this one: stored probabilities are float16, where they become 0."""

_SHARPEST, _FLATTEST = 100.0, 0.01
"""Range of inverse temperatures that is searched."""


class Bin(NamedTuple):
    """Images of similar confidence: one point of the reliability curve."""

    confidence: float
    """Mean probability of the predicted grade."""
    accuracy: Estimate
    """Share of correct grades, with Wilson's interval."""


class Calibration(NamedTuple):
    """Predicted probabilities of one training against the true grades."""

    n: int
    brier: Estimate
    """Mean squared distance of the probabilities from the truth, summed over grades (Brier 1950): 0 to 2; Student's t
    interval over images."""
    overconfidence: Estimate
    """Mean confidence minus accuracy; Student's t interval over images."""
    ece: float
    """Expected calibration error of the predicted grade, in bins of equal numbers of images."""
    ece_by_chance: float
    """Mean ``ece`` of a perfectly calibrated training with the same confidences: above 0, since bins are small."""
    ece_limit: float
    """The 95 % quantile of the same; only an ``ece`` above it shows miscalibration."""
    bins: tuple[Bin, ...]
    temperature: Estimate | Withheld
    """Divisor of the logits with the lowest cross-entropy: above 1, the training is overconfident."""


def calibration(
    grades: NDArray[np.int64], probabilities: NDArray[np.floating], seed: int = 0
) -> Calibration | Withheld:
    """Estimate how well predicted probabilities match the frequencies of the true grades.

    Args:
        grades: true grades, shape (images,).
        probabilities: class probabilities, shape (images, grades).
        seed: of the drawn outcomes.

    The expected calibration error is the mean over bins of ``|accuracy - confidence|``, weighted by images. Bins hold
    equal numbers of images, which biases it less than bins of equal width (Roelofs et al. 2022). For few images it is
    still far above 0, so ``ece_by_chance`` and ``ece_limit`` state what perfect calibration would reach, by drawing the
    outcomes from the confidences (Broecker & Smith 2007).

    Valid for independent images that took no part in training. Withheld below ``MIN_IMAGES`` images, which do not fill
    two bins.
    """
    n = len(grades)
    if n < MIN_IMAGES:
        return Withheld(f"a reliability curve needs at least {MIN_IMAGES} images, there are {n}")
    shares = normalized(probabilities)
    confidence, correct = shares.max(axis=1), shares.argmax(axis=1) == grades
    # sklearn.calibration.calibration_curve cuts at quantiles, which puts ties into one bin, and has no counts.
    bins = np.array_split(np.argsort(confidence, kind="stable"), min(MAX_BINS, n // PER_BIN))
    draws = np.random.default_rng(seed).random((DRAWS, n)) < confidence
    by_chance = _calibration_errors(confidence, draws, bins)
    return Calibration(
        n=n,
        brier=mean_estimate(np.square(shares - np.eye(shares.shape[1])[grades]).sum(axis=1)),
        overconfidence=mean_estimate(confidence - correct),
        ece=float(_calibration_errors(confidence, correct[None], bins)[0]),
        ece_by_chance=float(by_chance.mean()),
        ece_limit=float(np.quantile(by_chance, LEVEL)),
        bins=tuple(Bin(float(confidence[b].mean()), proportion(int(correct[b].sum()), len(b))) for b in bins),
        temperature=temperature(grades, shares),
    )


def temperature(grades: NDArray[np.int64], probabilities: NDArray[np.floating]) -> Estimate | Withheld:
    """Estimate the temperature with the lowest cross-entropy (Guo et al. 2017), with its profile-likelihood interval.

    Arguments and conditions as in :func:`calibration`. The figure is reported; no prediction of the study is scaled by
    it. Withheld where every image is graded correctly (the lower the temperature, the better), or where the
    probabilities are unrelated to the grades (the higher, the better). No interval where one of its ends lies outside
    the searched range.
    """
    logits = _logits(probabilities)
    true_logits = logits[np.arange(len(grades)), grades]

    def slope(inverse: float) -> float:
        return float((np.sum(special.softmax(inverse * logits, axis=1) * logits, axis=1) - true_logits).sum())

    def loss(inverse: float) -> float:
        return float((special.logsumexp(inverse * logits, axis=1) - inverse * true_logits).sum())

    if slope(_SHARPEST) <= 0:
        return Withheld("no temperature is too low for these images: each of them is graded correctly")
    if slope(_FLATTEST) >= 0:
        return Withheld("no temperature fits: the probabilities are unrelated to the grades")
    best = float(optimize.brentq(slope, _FLATTEST, _SHARPEST))
    limit = loss(best) + float(stats.chi2.ppf(LEVEL, 1)) / 2

    def excess(inverse: float) -> float:
        return loss(inverse) - limit

    if excess(_FLATTEST) <= 0 or excess(_SHARPEST) <= 0:
        return Estimate(1 / best, None, None, len(grades))
    ends = optimize.brentq(excess, best, _SHARPEST), optimize.brentq(excess, _FLATTEST, best)
    return Estimate(1 / best, 1 / float(ends[0]), 1 / float(ends[1]), len(grades))


def temperature_scaled(probabilities: NDArray[np.floating], divisor: float) -> Floats:
    """Return the probabilities with their logits divided by a temperature, shape (images, grades)."""
    scaled: Floats = special.softmax(_logits(probabilities) / divisor, axis=1)
    return scaled


def cross_entropy(grades: NDArray[np.int64], probabilities: Floats) -> Floats:
    """Return the negative log-likelihood of each image in nats; a probability counts as at least 1e-7."""
    losses: Floats = -np.log(np.maximum(probabilities[np.arange(len(grades)), grades], _SMALLEST))
    return losses


def normalized(probabilities: NDArray[np.floating]) -> Floats:
    """Return float64 probabilities that sum to 1: stored ones are rounded to float16."""
    exact = probabilities.astype(np.float64)
    shares: Floats = exact / exact.sum(axis=-1, keepdims=True)
    return shares


def _logits(probabilities: NDArray[np.floating]) -> Floats:
    logits: Floats = np.log(np.maximum(normalized(probabilities), _SMALLEST))
    return logits


def _calibration_errors(confidence: Floats, correct: NDArray[np.bool_], bins: list[NDArray[np.intp]]) -> Floats:
    """Return the expected calibration error of each row of outcomes; ``correct`` has shape (rows, images)."""
    excess = correct - confidence
    errors: Floats = np.sum([np.abs(excess[:, images].sum(axis=1)) for images in bins], axis=0)
    return errors / len(confidence)
