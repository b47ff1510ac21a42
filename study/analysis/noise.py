"""The smallest difference between two trials that this validation set can show."""

from math import ceil
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from study.analysis.depth import NO_TRIALS, accuracy_estimate, best_trial
from study.analysis.estimators.intervals import LEVEL, Estimate, Withheld

POWER = 0.8
DIFFERENCES = (0.02, 0.05, 0.1)
"""For these the report states how many images would show them."""
FEWEST = 10
"""Discordant images that Connor's equation needs; with fewer it is too optimistic for any test."""

_Z_LEVEL, _Z_POWER = (float(quantile) for quantile in stats.norm.ppf([(1 + LEVEL) / 2, POWER]))


class ImagesNeeded(NamedTuple):
    """How many images a difference in accuracy needs."""

    difference: float
    images: int
    """Smallest number with which a two-sided 5 % test finds it with 80 % power."""


class Noise(NamedTuple):
    """How uncertain the best trial's score is, given the number of images it was measured on."""

    n_images: int
    best_trial: int
    best: Estimate
    """Validation accuracy of the completed trial with the highest score, with Wilson's interval over images."""
    discordance: float
    """Share of images on which exactly one of two trials is right."""
    discordance_measured: bool
    """True when counted from stored predictions, False for the bound that independent errors give."""
    detectable: float
    """Smallest true difference in accuracy that a two-sided 5 % test finds with 80 % power."""
    within: int
    """Completed trials (the best included) whose accuracy lies inside the interval of the best."""
    n_trials: int
    needed: tuple[ImagesNeeded, ...]
    """Images that smaller and larger differences would take, at the same discordance."""


def noise(complete: pd.DataFrame, n_validation: int, correct: NDArray[np.bool_] | None = None) -> Noise | Withheld:
    """Estimate the accuracy of the best trial, and the smallest difference that the validation images can show.

    Wilson's interval, and Connor's equation (:func:`detectable_difference`). Trials that disagree on fewer than ten
    images count as if they did on ten, below which the equation is not valid.

    Valid for images that are a random sample. The interval does not account for the best having been picked out of
    many: its true accuracy is more likely below the figure than above. Withheld without a completed trial.

    Args:
        complete: completed trials.
        n_validation: validation images.
        correct: which images the best trial (first row) and some others got right, shape (trials, images); None when
            predictions are not stored.
    """
    if complete.empty:
        return NO_TRIALS
    accuracy = complete["val_accuracy_best"].astype(float)
    top = best_trial(complete)
    best = accuracy_estimate(top["val_accuracy_best"], n_validation)
    measured = correct is not None and len(correct) > 1
    disagreement = discordance(correct) if correct is not None and measured else 2 * best.value * (1 - best.value)
    at_least_ten = max(disagreement, min(1.0, FEWEST / n_validation))
    return Noise(
        n_images=n_validation,
        best_trial=int(top["number"]),
        best=best,
        discordance=disagreement,
        discordance_measured=measured,
        detectable=detectable_difference(n_validation, at_least_ten),
        within=int((accuracy >= (best.low or 0.0)).sum()),
        n_trials=len(complete),
        needed=tuple(ImagesNeeded(difference, images_needed(difference, at_least_ten)) for difference in DIFFERENCES),
    )


def discordance(correct: NDArray[np.bool_]) -> float:
    """Return the median share of images on which the first trial and another are not both right or both wrong."""
    return float(np.median((correct[1:] != correct[0]).mean(axis=1)))


def detectable_difference(n_images: int, discordance: float) -> float:
    """Return the smallest difference in accuracy that McNemar's test finds on n paired images.

    Solves ``sqrt(n) d = z_a sqrt(q) + z_b sqrt(q - d^2)`` for d (Connor 1987, Biometrics 43:207), with discordance q,
    z_a for a two-sided 5 % test and z_b for 80 % power. Valid when ``n q`` is above about 10; never above q, the
    largest difference that this discordance allows.
    """
    linear, square = _Z_LEVEL * (n_images * discordance) ** 0.5, n_images + _Z_POWER**2
    rest = (_Z_LEVEL**2 - _Z_POWER**2) * discordance
    return min(discordance, float(linear + max(0.0, linear**2 - square * rest) ** 0.5) / square)


def images_needed(difference: float, discordance: float) -> int:
    """Return the number of paired images on which McNemar's test finds a difference in accuracy.

    Connor's equation of :func:`detectable_difference`, solved for n and rounded up. Trials cannot differ by more than
    they are discordant; a smaller discordance counts as equal to the difference.

    Raises:
        ValueError: when the difference is not above 0.
    """
    if difference <= 0:
        raise ValueError(f"no number of images shows a difference of {difference}")
    q = max(discordance, difference)
    root: float = (_Z_LEVEL * q**0.5 + _Z_POWER * (q - difference**2) ** 0.5) / difference
    return ceil(root**2)
