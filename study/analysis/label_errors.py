"""Suspect labels: images that well-performing trainings, never trained on them, agree to grade otherwise."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from study.analysis.estimators.calibration import Floats, normalized, temperature, tempered
from study.analysis.estimators.intervals import Estimate, Withheld, mean_estimate, proportion

MIN_TRIALS = 5
"""Trainings that must have graded an image before their agreement says something."""

MIN_IMAGES = 30
"""Below, the mean probability of each grade, which confident learning compares with, rests on a handful of images."""

FALSE_DISCOVERIES = 0.1
"""Share of rightly graded images allowed among those that are called beyond chance (Benjamini & Hochberg 1995)."""


Said = tuple[Sequence[str], NDArray[np.int64], NDArray[np.floating]]
"""What one trial said: ids and given grades of its images (images,), class probabilities (images, grades)."""


class Votes(NamedTuple):
    """What trainings said of images that they were not trained on."""

    ids: tuple[str, ...]
    grades: NDArray[np.int64]
    """Given grades, shape (images,)."""
    probabilities: Floats
    """Class probabilities, shape (trials, images, grades); NaN where a trial was trained on the image."""


class SuspectLabel(NamedTuple):
    """One image whose grade the trainings doubt."""

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
    """Probability that a rightly graded image gets a grade as improbable as this one."""
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


def suspects(votes: Votes) -> LabelErrors | Withheld:
    """Find images whose given grade the trials doubt.

    An image is suspect when confident learning (Northcutt, Jiang & Chuang 2021) puts it off the diagonal of the
    confident joint, on probabilities averaged over the trials, and most trials grade it as proposed. Suspects are
    ordered by their normalized margin.

    ``chance`` says how sure that is: the trials err on many images, so that doubt alone is no evidence of a wrong
    grade. It takes the averaged probabilities, at the temperature that fits these images, for the true ones.

    Valid for trials that were not trained on the images, from ``MIN_TRIALS`` trials and ``MIN_IMAGES`` images on, and
    when they grade better than the commonest grade would. Trials of one study share training images and backbone: they
    agree in their errors too, and an interval over trials speaks of trials like these. A list to look through, for
    someone who can grade; nothing is removed from any study.
    """
    trials = len(votes.probabilities)
    if trials < MIN_TRIALS:
        return Withheld(f"agreement needs at least {MIN_TRIALS} trials with stored predictions, there are {trials}")
    known = _enough(votes)
    n = len(known.ids)
    if n < MIN_IMAGES:
        return Withheld(f"confident learning needs at least {MIN_IMAGES} images, there are {n}")
    averaged = normalized(np.nanmean(known.probabilities, axis=0))
    right = averaged.argmax(axis=1) == known.grades
    accuracy = proportion(int(right.sum()), n)
    commonest = float(np.bincount(known.grades).max() / n)
    if accuracy.low is None or accuracy.low <= commonest:
        return Withheld("the best trials do not surely grade better than by naming the commonest grade every time")
    degrees = temperature(known.grades, averaged)
    if isinstance(degrees, Withheld):
        return Withheld(degrees.reason)
    chance = given_by_chance(known.grades, tempered(averaged, degrees.value))
    beyond = stats.false_discovery_control(chance) <= FALSE_DISCOVERIES
    found = _ranked(known, averaged, chance, beyond)
    surely = sum(one.beyond_chance for one in found)
    return LabelErrors(n, trials, accuracy, int((~right).sum()), surely, found)


def collect(told: Sequence[Said]) -> Votes:
    """Bring together what trials said of their validation images, which may differ from trial to trial.

    Raises:
        ValueError: when there is no trial.
    """
    if not told:
        raise ValueError("no trial to collect votes of")
    given = {name: int(grade) for ids, grades, _ in told for name, grade in zip(ids, grades, strict=True)}
    place = {name: n for n, name in enumerate(given)}
    probabilities = np.full((len(told), len(given), told[0][2].shape[1]), np.nan)
    for row, (ids, _, said) in zip(probabilities, told, strict=True):
        row[[place[name] for name in ids]] = said
    return Votes(tuple(given), np.array(list(given.values()), dtype=np.int64), probabilities)


def normalized_margins(grades: NDArray[np.int64], probabilities: Floats) -> Floats:
    """Return the probability of the given grade less that of the likeliest other one, moved to 0 to 1.

    Shape (images,); the lower, the more suspect (Northcutt, Jiang & Chuang 2021).
    """
    given, others = _split(grades, probabilities)
    margins: Floats = (given - others.max(axis=1) + 1) / 2
    return margins


def confident_grades(grades: NDArray[np.int64], probabilities: Floats) -> NDArray[np.int64]:
    """Return the grade that confident learning assigns each image, shape (images,); -1 where it assigns none.

    It is the likeliest grade of those that are at least as probable as they are on average among images given that
    grade: the cell of the confident joint (Northcutt, Jiang & Chuang 2021, eq. 1).
    """
    own = np.eye(probabilities.shape[1], dtype=bool)[grades]
    present = own.any(axis=0)
    thresholds = np.full(probabilities.shape[1], np.inf)
    thresholds[present] = [probabilities[own[:, grade], grade].mean() for grade in np.flatnonzero(present)]
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    return np.where(confident.max(axis=1) >= 0, confident.argmax(axis=1), -1)


def given_by_chance(grades: NDArray[np.int64], probabilities: Floats) -> Floats:
    """Return how probable a grade as improbable as the given one is, shape (images,).

    The summed probability of all grades that are no more probable than the given one: a valid p-value of the
    hypothesis that the grade was drawn from these probabilities.
    """
    given, _ = _split(grades, probabilities)
    tail: Floats = np.where(probabilities <= given[:, None] * (1 + 1e-9), probabilities, 0).sum(axis=1)
    return np.minimum(tail, 1.0)


def _enough(votes: Votes) -> Votes:
    """Keep the images that enough trials have graded."""
    graded = (~np.isnan(votes.probabilities[:, :, 0])).sum(axis=0) >= MIN_TRIALS
    ids = tuple(name for name, kept in zip(votes.ids, graded, strict=True) if kept)
    return Votes(ids, votes.grades[graded], votes.probabilities[:, graded])


def _ranked(votes: Votes, averaged: Floats, chance: Floats, beyond: NDArray[np.bool_]) -> tuple[SuspectLabel, ...]:
    margins, proposed = normalized_margins(votes.grades, averaged), confident_grades(votes.grades, averaged)
    doubted = (proposed >= 0) & (proposed != votes.grades) & (averaged.argmax(axis=1) != votes.grades)
    found = []
    for image in np.flatnonzero(doubted)[np.argsort(margins[doubted], kind="stable")]:
        said = votes.probabilities[:, image]
        said = said[~np.isnan(said[:, 0])]
        agree = int((said.argmax(axis=1) == proposed[image]).sum())
        if 2 * agree > len(said):
            found.append(
                SuspectLabel(
                    id=votes.ids[image],
                    grade=int(votes.grades[image]),
                    proposed=int(proposed[image]),
                    agree=agree,
                    trials=len(said),
                    given_probability=mean_estimate(said[:, votes.grades[image]]),
                    proposed_probability=mean_estimate(said[:, proposed[image]]),
                    margin=float(margins[image]),
                    chance=float(chance[image]),
                    beyond_chance=bool(beyond[image]),
                )
            )
    return tuple(found)


def _split(grades: NDArray[np.int64], probabilities: Floats) -> tuple[Floats, Floats]:
    """Part the probability of the given grade, shape (images,), from the others, shape (images, grades - 1)."""
    own = np.eye(probabilities.shape[1], dtype=bool)[grades]
    return probabilities[own], probabilities[~own].reshape(len(grades), -1)
