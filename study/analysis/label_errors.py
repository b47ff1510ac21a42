"""Suspect labels: images that well-performing trainings, never trained on them, agree to grade otherwise."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from study.analysis.estimators.calibration import Floats, normalized, temperature, temperature_scaled
from study.analysis.estimators.intervals import Estimate, Withheld, mean_estimate, proportion

MIN_TRIALS = 5
"""Trainings that must have graded an image before their agreement counts."""

MIN_IMAGES = 30
"""Below, the mean probability of each grade, which confident learning compares with, rests on a handful of images."""

FALSE_DISCOVERIES = 0.1
"""Share of correctly graded images allowed among those beyond chance (Benjamini & Hochberg 1995)."""


TrialPredictions = tuple[Sequence[str], NDArray[np.int64], NDArray[np.floating]]
"""One trial's images: ids, given grades (images,) and class probabilities (images, grades)."""


class OutOfSamplePredictions(NamedTuple):
    """Predictions of trainings for images that they were not trained on."""

    ids: tuple[str, ...]
    grades: NDArray[np.int64]
    """Given grades, shape (images,)."""
    probabilities: Floats
    """Class probabilities, shape (trials, images, grades); NaN where a trial was trained on the image."""


class SuspectLabel(NamedTuple):
    """One image whose given grade is probably wrong."""

    id: str
    grade: int
    """As given."""
    proposed: int
    agree: int
    """Trials whose own most probable grade is the proposed one."""
    trials: int
    """Trials that graded the image."""
    given_probability: Estimate
    """Mean probability of the given grade, with Student's t interval over trials."""
    proposed_probability: Estimate
    """Likewise of the proposed grade."""
    margin: float
    """Normalized margin (Northcutt, Jiang & Chuang 2021): 0.5 in doubt, towards 0 the grade is surely wrong."""
    chance: float
    """Probability that a correctly graded image gets a grade as improbable as this one."""
    beyond_chance: bool
    """Whether ``chance`` is too small for one of so many images (false discovery rate 10 %)."""


class LabelErrors(NamedTuple):
    """All suspect labels, most suspect first."""

    n_images: int
    n_trials: int
    accuracy: Estimate
    """Of the averaged probabilities, with Wilson's interval."""
    otherwise: int
    """Images whose most probable grade is not the given one: mostly errors of the trials."""
    beyond_chance: int
    suspects: tuple[SuspectLabel, ...]


def find_label_errors(predictions: OutOfSamplePredictions) -> LabelErrors | Withheld:
    """Find images whose given grade is probably wrong.

    An image is suspect when confident learning (Northcutt, Jiang & Chuang 2021) puts it off the diagonal of the
    confident joint, on probabilities averaged over the trials, and most trials grade it as proposed. Suspects are
    ordered by their normalized margin.

    ``chance`` is a p-value: the trials err on many images, so that disagreement alone is no evidence of a wrong grade.
    It takes the averaged probabilities, at the temperature that fits these images, for the true ones.

    Valid for trials that were not trained on the images. Trials of one study share training images and backbone: they
    agree in their errors too, and an interval over trials holds for trials like these. The result is a list for someone
    who can grade to check; nothing is removed from any study. Withheld below ``MIN_TRIALS`` trials or ``MIN_IMAGES``
    images, where no temperature fits, and where the trials do not grade better than the most common grade would: their
    disagreement is then no evidence.
    """
    trials = len(predictions.probabilities)
    if trials < MIN_TRIALS:
        return Withheld(f"agreement needs at least {MIN_TRIALS} trials with stored predictions, there are {trials}")
    graded = (~np.isnan(predictions.probabilities[:, :, 0])).sum(axis=0) >= MIN_TRIALS
    known = OutOfSamplePredictions(
        tuple(np.array(predictions.ids, dtype=object)[graded]),
        predictions.grades[graded],
        predictions.probabilities[:, graded],
    )
    n = len(known.ids)
    if n < MIN_IMAGES:
        return Withheld(f"confident learning needs at least {MIN_IMAGES} images, there are {n}")
    averaged = normalized(np.nanmean(known.probabilities, axis=0))
    right = averaged.argmax(axis=1) == known.grades
    accuracy = proportion(int(right.sum()), n)
    most_common = float(np.bincount(known.grades).max() / n)
    if accuracy.low is None or accuracy.low <= most_common:
        return Withheld("the best trials do not surely predict better than the most common class does every time")
    fitted = temperature(known.grades, averaged)
    if isinstance(fitted, Withheld):
        return fitted
    p_values = label_p_values(known.grades, temperature_scaled(averaged, fitted.value))
    beyond_chance = stats.false_discovery_control(p_values) <= FALSE_DISCOVERIES
    suspects = _rank_suspects(known, averaged, p_values, beyond_chance)
    n_beyond_chance = sum(suspect.beyond_chance for suspect in suspects)
    return LabelErrors(n, trials, accuracy, int((~right).sum()), n_beyond_chance, suspects)


def collect_predictions(by_trial: Sequence[TrialPredictions]) -> OutOfSamplePredictions:
    """Combine predictions of trials for their validation images, which may differ from trial to trial.

    Raises:
        ValueError: when there is no trial.
    """
    if not by_trial:
        raise ValueError("no trial to collect predictions of")
    given = {name: int(grade) for ids, grades, _ in by_trial for name, grade in zip(ids, grades, strict=True)}
    columns = {name: n for n, name in enumerate(given)}
    probabilities = np.full((len(by_trial), len(given), by_trial[0][2].shape[1]), np.nan)
    for row, (ids, _, predicted) in zip(probabilities, by_trial, strict=True):
        row[[columns[name] for name in ids]] = predicted
    return OutOfSamplePredictions(tuple(given), np.array(list(given.values()), dtype=np.int64), probabilities)


def normalized_margins(grades: NDArray[np.int64], probabilities: Floats) -> Floats:
    """Return the probability of the given grade less that of the likeliest other one, scaled to 0 to 1.

    Shape (images,); the lower, the more suspect (Northcutt, Jiang & Chuang 2021).
    """
    own = _given(grades, probabilities)
    others = probabilities[~own].reshape(len(grades), -1)
    margins: Floats = (probabilities[own] - others.max(axis=1) + 1) / 2
    return margins


def confident_grades(grades: NDArray[np.int64], probabilities: Floats) -> NDArray[np.int64]:
    """Return the grade that confident learning assigns each image, shape (images,); -1 where it assigns none.

    It is the likeliest grade of those that are at least as probable as they are on average among images given that
    grade: the cell of the confident joint (Northcutt, Jiang & Chuang 2021, eq. 1).
    """
    own = _given(grades, probabilities)
    present = own.any(axis=0)
    thresholds = np.full(probabilities.shape[1], np.inf)
    thresholds[present] = [probabilities[own[:, grade], grade].mean() for grade in np.flatnonzero(present)]
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    return np.where(confident.max(axis=1) >= 0, confident.argmax(axis=1), -1)


def label_p_values(grades: NDArray[np.int64], probabilities: Floats) -> Floats:
    """Return how probable a grade as improbable as the given one is, shape (images,).

    The summed probability of all grades that are no more probable than the given one: a valid p-value of the
    hypothesis that the grade was drawn from these probabilities.
    """
    given = probabilities[_given(grades, probabilities)]
    # The factor lets grades of equal probability count in spite of rounding.
    tail: Floats = np.where(probabilities <= given[:, None] * (1 + 1e-9), probabilities, 0).sum(axis=1)
    return np.minimum(tail, 1.0)


def _given(grades: NDArray[np.int64], probabilities: Floats) -> NDArray[np.bool_]:
    """Return a mask of each image's given grade, shape (images, grades)."""
    return np.eye(probabilities.shape[1], dtype=bool)[grades]


def _rank_suspects(
    predictions: OutOfSamplePredictions, averaged: Floats, p_values: Floats, beyond_chance: NDArray[np.bool_]
) -> tuple[SuspectLabel, ...]:
    grades = predictions.grades
    margins, proposed = normalized_margins(grades, averaged), confident_grades(grades, averaged)
    doubtful = (proposed >= 0) & (proposed != grades) & (averaged.argmax(axis=1) != grades)
    suspects = []
    for image in np.flatnonzero(doubtful)[np.argsort(margins[doubtful], kind="stable")]:
        by_trial = predictions.probabilities[:, image]
        by_trial = by_trial[~np.isnan(by_trial[:, 0])]
        agree = int((by_trial.argmax(axis=1) == proposed[image]).sum())
        if 2 * agree > len(by_trial):
            suspects.append(
                SuspectLabel(
                    id=predictions.ids[image],
                    grade=int(grades[image]),
                    proposed=int(proposed[image]),
                    agree=agree,
                    trials=len(by_trial),
                    given_probability=mean_estimate(by_trial[:, grades[image]]),
                    proposed_probability=mean_estimate(by_trial[:, proposed[image]]),
                    margin=float(margins[image]),
                    chance=float(p_values[image]),
                    beyond_chance=bool(beyond_chance[image]),
                )
            )
    return tuple(suspects)
