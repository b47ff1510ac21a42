"""Score soups and ensembles on the validation images: accuracy, gap, calibration and the gain over the best trial.

All choices were made on the same images, so the plain figures are optimistic. Cross-fitted figures are not: one half of
the images makes the choice, the other half scores it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.metrics import confusion
from study.analysis import Estimate, Withheld, proportion
from study.analysis.estimators import intervals
from study.analysis.estimators.calibration import (
    Calibration,
    calibration,
    cross_entropy,
    temperature,
    temperature_scaled,
)
from study.analysis.estimators.grading import kappa_estimate
from study.analysis.estimators.intervals import bootstrap_mean, difference_of_proportions
from study.analysis.estimators.paired import PairedDifference, paired_difference
from study.soup.selection import RULES, EnsembleCandidates, EnsembleRecipe, Floats, choose_columns

SPLITS = 50
"""Random halvings; each is used in both directions."""

RESAMPLES = 500
"""Bootstrap resamples of the images; each of them is scored on all splits."""

TEMPERED_SPLITS = 10
"""Halvings for the temperature; each needs two fits."""

MIN_IMAGES = 40
"""With 20 images in a half, no bootstrap resample leaves a half empty."""

_ENDS = [(1 - intervals.LEVEL) / 2, (1 + intervals.LEVEL) / 2]
"""Quantiles of a percentile bootstrap interval."""

Labels = NDArray[np.int64]


class EnsemblePredictions(NamedTuple):
    """The class probabilities of a soup or ensemble for both parts, shape (images, grades)."""

    train: Floats
    validation: Floats


class TemperatureScaled(NamedTuple):
    """A soup or ensemble whose logits are divided by a temperature (Guo et al. 2017); its grades stay the same."""

    degrees: Estimate
    """The temperature, with its profile-likelihood interval."""
    nll: Estimate
    """On the images that the temperature was fitted to, so it is optimistic; the same holds for ``ece``."""
    ece: float
    nll_cross_fitted: Estimate | Withheld
    """With the temperature fitted to the other half of the images; the same holds for ``ece_cross_fitted``."""
    ece_cross_fitted: float | None


class EnsembleDifference(NamedTuple):
    """A soup or ensemble minus the best single trial, paired by image."""

    accuracy: PairedDifference
    nll: Estimate
    """Cross-entropy in nats, negative if it is lower than that of the best trial; bootstrap over images."""
    gap: Estimate
    """Negative if the gap is smaller than that of the best trial; bootstrap over training and validation images."""
    cross_fitted: Estimate | Withheld
    """Gain in the study's score on images that chose neither of the two."""


class ScoredEnsemble(NamedTuple):
    """The figures of one soup or ensemble."""

    recipe: EnsembleRecipe
    accuracy: Estimate
    """On validation, with Wilson's interval."""
    qwk: Estimate | Withheld
    nll: Estimate
    """Mean cross-entropy in nats, bootstrap over images."""
    ece: float | None
    """Expected calibration error; None for too few images."""
    ece_by_chance: float | None
    """The mean calibration error of perfectly calibrated predictions on as many images."""
    train_accuracy: Estimate
    gap: Estimate
    """Train minus validation accuracy, with Newcombe's interval."""
    tempered: TemperatureScaled | Withheld
    against: EnsembleDifference | None
    """None for the best single trial itself."""


def score_ensembles(
    recipes: Sequence[EnsembleRecipe],
    predictions: Sequence[EnsemblePredictions],
    grades: tuple[Labels, Labels],
    gains: Mapping[str, Estimate] | Withheld,
) -> tuple[ScoredEnsemble, ...]:
    """Score soups and ensembles on validation.

    Args:
        recipes: how each is made; the first is the best single trial, with which the others are compared.
        predictions: of each.
        grades: true grades of the training images and of the validation images.
        gains: cross-fitted gain of each, by name.
    """
    scored = []
    for position, (recipe, predicted) in enumerate(zip(recipes, predictions, strict=True)):
        against = None
        if position > 0:
            gain = gains if isinstance(gains, Withheld) else gains[recipe.name]
            against = _difference(predicted, predictions[0], grades, gain)
        scored.append(_score(recipe, predicted, grades, against))
    return tuple(scored)


def cross_fitted_gains(candidates: EnsembleCandidates, seed: int = 0) -> Mapping[str, Estimate] | Withheld:
    """Return the gain of each rule over the best single trial in the study's score, on images that chose neither.

    One half of the images chooses the soup or ensemble and the best single trial; the other half scores both; mean
    over random halves (Stone 1974). WiSE-FT is compared with the trial that it interpolates. Intervals are percentile
    bootstraps over images; all copies of an image are in one half. Two limits remain: half of the images choose worse
    than all of them, and the best epochs and the set of trials were chosen on all images.
    """
    n = len(candidates.grades)
    if n < MIN_IMAGES:
        return Withheld(f"halves need at least {MIN_IMAGES} validation images, there are {n}")
    rng = np.random.default_rng(seed)
    halves = _random_halves(rng, n, SPLITS)
    both_ways = np.concatenate([halves, ~halves]).astype(np.float32)
    resamples = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float32)
    gains = _mean_gains(candidates, both_ways)
    replicas = np.array([_mean_gains(candidates, both_ways, weights) for weights in resamples])
    lows, highs = np.quantile(replicas, _ENDS, axis=0)
    return {
        name: Estimate(float(gain), float(low), float(high), n)
        for name, gain, low, high in zip(RULES, gains, lows, highs, strict=True)
    }


def cross_fitted_temperature(grades: Labels, probabilities: Floats, seed: int = 0) -> tuple[Estimate, float] | Withheld:
    """Return cross-entropy and calibration error with the temperature fitted to the other half of the images.

    Means over random halves. The interval is that of a mean over images, for given temperatures. If a half has no
    temperature (all its images are graded correctly), the probabilities stay unchanged.

    Args:
        grades: true grades, shape (images,).
        probabilities: class probabilities, shape (images, grades).
        seed: of the halves.
    """
    n = len(grades)
    if n < MIN_IMAGES:
        return Withheld(f"halves need at least {MIN_IMAGES} validation images, there are {n}")
    losses, errors = [], []
    for half in _random_halves(np.random.default_rng(seed), n, TEMPERED_SPLITS):
        scaled = probabilities.astype(np.float64)
        for fitted in (half, ~half):
            degrees = temperature(grades[fitted], probabilities[fitted])
            if not isinstance(degrees, Withheld):
                scaled[~fitted] = temperature_scaled(probabilities[~fitted], degrees.value)
        losses.append(cross_entropy(grades, scaled))
        calibrated = calibration(grades, scaled)
        assert isinstance(calibrated, Calibration)
        errors.append(calibrated.ece)
    return bootstrap_mean(np.mean(losses, axis=0)), float(np.mean(errors))


def _score(
    recipe: EnsembleRecipe,
    predictions: EnsemblePredictions,
    grades: tuple[Labels, Labels],
    against: EnsembleDifference | None,
) -> ScoredEnsemble:
    truth, probabilities = grades[1], predictions.validation
    train_accuracy, accuracy = (
        proportion(int(correct.sum()), len(correct)) for correct in map(_correct, predictions, grades)
    )
    calibrated = calibration(truth, probabilities)
    known = None if isinstance(calibrated, Withheld) else calibrated
    return ScoredEnsemble(
        recipe=recipe,
        accuracy=accuracy,
        qwk=kappa_estimate(confusion(truth, probabilities.argmax(axis=1), probabilities.shape[1])),
        nll=bootstrap_mean(cross_entropy(truth, probabilities)),
        ece=known.ece if known else None,
        ece_by_chance=known.ece_by_chance if known else None,
        train_accuracy=train_accuracy,
        gap=difference_of_proportions(train_accuracy, accuracy),
        tempered=_temperature_scaled(truth, probabilities),
        against=against,
    )


def _temperature_scaled(grades: Labels, probabilities: Floats) -> TemperatureScaled | Withheld:
    degrees = temperature(grades, probabilities)
    if isinstance(degrees, Withheld):
        return degrees
    scaled = temperature_scaled(probabilities, degrees.value)
    calibrated = calibration(grades, scaled)
    if isinstance(calibrated, Withheld):
        return calibrated
    cross_fitted = cross_fitted_temperature(grades, probabilities)
    nll, ece = (cross_fitted, None) if isinstance(cross_fitted, Withheld) else cross_fitted
    return TemperatureScaled(degrees, bootstrap_mean(cross_entropy(grades, scaled)), calibrated.ece, nll, ece)


def _difference(
    predictions: EnsemblePredictions,
    best: EnsemblePredictions,
    grades: tuple[Labels, Labels],
    gain: Estimate | Withheld,
) -> EnsembleDifference:
    correct_train, correct = map(_correct, predictions, grades)
    best_train, best_correct = map(_correct, best, grades)
    losses, best_losses = (cross_entropy(grades[1], part.validation) for part in (predictions, best))
    return EnsembleDifference(
        accuracy=paired_difference(correct, best_correct),
        nll=bootstrap_mean(losses - best_losses),
        gap=_difference_of_means(
            correct_train.astype(np.float64) - best_train, correct.astype(np.float64) - best_correct
        ),
        cross_fitted=gain,
    )


def _correct(probabilities: Floats, grades: Labels) -> NDArray[np.bool_]:
    """Return which images are graded correctly."""
    return np.asarray(probabilities.argmax(axis=1) == grades)


def _difference_of_means(one: Floats, other: Floats, seed: int = 0) -> Estimate:
    """Return the difference of two independent means with a percentile bootstrap interval; n counts both."""
    rng = np.random.default_rng(seed)
    size = intervals.RESAMPLES
    means = [values[rng.integers(0, len(values), (size, len(values)))].mean(axis=1) for values in (one, other)]
    low, high = np.quantile(means[0] - means[1], _ENDS)
    return Estimate(float(one.mean() - other.mean()), float(low), float(high), len(one) + len(other))


def _random_halves(rng: np.random.Generator, n: int, splits: int) -> NDArray[np.bool_]:
    """Return masks of one half of n images, shape (splits, n)."""
    return rng.permuted(np.tile(np.arange(n) < n // 2, (splits, 1)), axis=1)


def _mean_gains(
    candidates: EnsembleCandidates, halves: NDArray[np.float32], weights: NDArray[np.float32] | float = 1.0
) -> Floats:
    """Return the mean gain of each rule over halves: one half chooses, the other scores."""
    columns = choose_columns(candidates.scores(halves * weights), len(candidates.trials))
    scores, rows = candidates.scores((1 - halves) * weights), np.arange(len(halves))
    return np.array(
        [float((scores[rows, columns[rule]] - scores[rows, columns[trial]]).mean()) for rule, trial in RULES.items()]
    )
