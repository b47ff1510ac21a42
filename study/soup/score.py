"""What mixtures are worth on the validation images, and whether they close the gap to the training ones."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.metrics import confusion
from study.analysis import (
    Calibration,
    Estimate,
    Withheld,
    bootstrap_mean,
    calibration,
    cross_entropy,
    difference_of_proportions,
    kappa_estimate,
    proportion,
    temperature,
    tempered,
)
from study.analysis.estimators.intervals import LEVEL, RESAMPLES
from study.analysis.estimators.paired import PairedDifference, paired_difference
from study.soup.candidates import EnsembleRecipe
from study.soup.crossfit import cross_fitted_temperature

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


class EnsemblePredictions(NamedTuple):
    """What a mixture says of both parts: class probabilities, shape (images, grades)."""

    train: Floats
    validation: Floats


class TemperatureScaled(NamedTuple):
    """A mixture whose logits are divided by a temperature (Guo et al. 2017); its grades are the same."""

    degrees: Estimate
    """With its profile-likelihood interval."""
    nll: Estimate
    """On the images that fitted it: optimistic; so is ``ece``."""
    ece: float
    nll_cross_fitted: Estimate | Withheld
    """Where one half of the images fits the temperature of the other; so is ``ece_cross_fitted``."""
    ece_cross_fitted: float | None


class EnsembleDifference(NamedTuple):
    """A mixture minus the best single trial, image by image."""

    accuracy: PairedDifference
    nll: Estimate
    """Cross-entropy in nats: below 0 the mixture is better; bootstrap over images."""
    gap: Estimate
    """Below 0 the mixture has the smaller gap; bootstrap over training and validation images."""
    cross_fitted: Estimate | Withheld
    """Gain in the study's score on images that chose neither of the two."""


class ScoredEnsemble(NamedTuple):
    """One mixture."""

    recipe: EnsembleRecipe
    accuracy: Estimate
    """On validation, with Wilson's interval."""
    qwk: Estimate
    nll: Estimate
    """Mean cross-entropy in nats, bootstrap over images."""
    ece: float | None
    """Expected calibration error; None for too few images."""
    ece_by_chance: float | None
    """What a perfectly calibrated mixture would show on average."""
    train_accuracy: Estimate
    gap: Estimate
    """Train minus validation accuracy, with Newcombe's interval."""
    tempered: TemperatureScaled | Withheld
    against: EnsembleDifference | None
    """None for the best single trial itself."""


def judge(
    recipes: Sequence[EnsembleRecipe],
    said: Sequence[EnsemblePredictions],
    grades: tuple[Labels, Labels],
    gains: Mapping[str, Estimate] | Withheld,
) -> tuple[ScoredEnsemble, ...]:
    """Judge mixtures on validation; the first one is the best single trial, which the others are held against.

    Choice and temperature were made on these very images, so everything but what is cross-fitted is optimistic,
    the best trial included.

    Args:
        recipes: how each is made.
        said: what each says.
        grades: true grades of the training and of the validation images.
        gains: what each gains by cross-fitting, by name.
    """
    best = said[0]
    return tuple(
        _judged(recipe, one, grades, _against(one, best, grades, _gain(recipe.name, gains)) if place else None)
        for place, (recipe, one) in enumerate(zip(recipes, said, strict=True))
    )


def _gain(name: str, gains: Mapping[str, Estimate] | Withheld) -> Estimate | Withheld:
    return gains if isinstance(gains, Withheld) else gains[name]


def _judged(
    recipe: EnsembleRecipe, said: EnsemblePredictions, grades: tuple[Labels, Labels], against: EnsembleDifference | None
) -> ScoredEnsemble:
    train, validation = (right(one, truth) for one, truth in zip(said, grades, strict=True))
    counts = confusion(grades[1], said.validation.argmax(axis=1), said.validation.shape[1])
    calibrated = calibration(grades[1], said.validation)
    known = calibrated if isinstance(calibrated, Calibration) else None
    accuracy, train_accuracy = (proportion(int(part.sum()), len(part)) for part in (validation, train))
    return ScoredEnsemble(
        recipe=recipe,
        accuracy=accuracy,
        qwk=kappa_estimate(counts),
        nll=bootstrap_mean(cross_entropy(grades[1], said.validation)),
        ece=known.ece if known else None,
        ece_by_chance=known.ece_by_chance if known else None,
        train_accuracy=train_accuracy,
        gap=difference_of_proportions(train_accuracy, accuracy),
        tempered=_tempered(grades[1], said.validation),
        against=against,
    )


def _tempered(grades: Labels, probabilities: Floats) -> TemperatureScaled | Withheld:
    degrees = temperature(grades, probabilities)
    if isinstance(degrees, Withheld):
        return degrees
    cooled = tempered(probabilities, degrees.value)
    calibrated = calibration(grades, cooled)
    if isinstance(calibrated, Withheld):
        return calibrated
    fitted = cross_fitted_temperature(grades, probabilities)
    nll, ece = (fitted, None) if isinstance(fitted, Withheld) else fitted
    return TemperatureScaled(degrees, bootstrap_mean(cross_entropy(grades, cooled)), calibrated.ece, nll, ece)


def _against(
    one: EnsemblePredictions, best: EnsemblePredictions, grades: tuple[Labels, Labels], gain: Estimate | Withheld
) -> EnsembleDifference:
    train, validation = grades
    mine, theirs = right(one.validation, validation), right(best.validation, validation)
    seen = right(one.train, train).astype(np.float64) - right(best.train, train)
    return EnsembleDifference(
        accuracy=paired_difference(mine, theirs),
        nll=bootstrap_mean(cross_entropy(validation, one.validation) - cross_entropy(validation, best.validation)),
        gap=_difference_of_means(seen, mine.astype(np.float64) - theirs),
        cross_fitted=gain,
    )


def _difference_of_means(one: Floats, other: Floats, seed: int = 0) -> Estimate:
    """Return the difference of two independent means with a percentile bootstrap interval; n counts both."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1) for values in (one, other)]
    low, high = np.quantile(means[0] - means[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(one.mean() - other.mean()), float(low), float(high), len(one) + len(other))


def right(probabilities: Floats, grades: Labels) -> NDArray[np.bool_]:
    """Return which images are graded rightly."""
    told: NDArray[np.bool_] = probabilities.argmax(axis=1) == grades
    return told
