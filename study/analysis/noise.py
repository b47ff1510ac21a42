"""How much a difference between two trials must be before this validation set can show it."""

from math import ceil
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from study.analysis.depth import NO_TRIALS
from study.analysis.estimators.intervals import LEVEL, Estimate, Withheld, proportion

POWER = 0.8
DIFFERENCES = (0.02, 0.05, 0.1)
"""For these the report says how many images would show them."""
FEWEST = 10
"""Connor's equation needs so many discordant images; from fewer it would promise what no test of them can keep."""


class Needed(NamedTuple):
    """How many images a difference in accuracy needs."""

    difference: float
    images: int
    """Smallest number with which a two-sided 5 % test finds it with 80 % power."""


class Noise(NamedTuple):
    """What the best trial's score is worth, given how few images it was measured on."""

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
    needed: tuple[Needed, ...]
    """Images that smaller and larger differences would take, at the same discordance."""


def noise(complete: pd.DataFrame, n_validation: int, correct: NDArray[np.bool_] | None = None) -> Noise | Withheld:
    """Describe the noise of the validation set.

    Args:
        complete: completed trials.
        n_validation: validation images.
        correct: which images the best trial (first row) and some others got right, shape (trials, images);
            None when predictions are not at hand.

    Trials that hardly ever disagree are taken to do so on ten images, below which the equation behind
    ``detectable`` and ``needed`` is not valid.

    The interval treats the images as a random sample. It does not account for the best having been picked out of
    many: its true accuracy is more likely below the figure than above.
    """
    if complete.empty:
        return NO_TRIALS
    accuracy = complete["val_accuracy_best"].astype(float)
    top = complete.sort_values(["score", "number"], ascending=[False, True]).iloc[0]
    best = proportion(round(float(top["val_accuracy_best"]) * n_validation), n_validation)
    measured = correct is not None and len(correct) > 1
    between = discordance(correct) if correct is not None and measured else 2 * best.value * (1 - best.value)
    enough = max(between, min(1.0, FEWEST / n_validation))
    return Noise(
        n_images=n_validation,
        best_trial=int(top["number"]),
        best=best,
        discordance=between,
        discordance_measured=measured,
        detectable=detectable_difference(n_validation, enough),
        within=int((accuracy >= (best.low or 0.0)).sum()),
        n_trials=len(complete),
        needed=tuple(Needed(difference, images_needed(difference, enough)) for difference in DIFFERENCES),
    )


def discordance(correct: NDArray[np.bool_]) -> float:
    """Return the median share of images on which the first trial and another are not both right or both wrong."""
    return float(np.median((correct[1:] != correct[0]).mean(axis=1)))


def detectable_difference(n_images: int, discordance: float) -> float:
    """Smallest difference in accuracy that McNemar's test finds on n paired images.

    Solves ``sqrt(n) d = z_a sqrt(q) + z_b sqrt(q - d^2)`` for d (Connor 1987, Biometrics 43:207), with discordance q,
    z_a for a two-sided 5 % test and z_b for 80 % power. Valid when ``n q`` is above about 10; never above q, the
    largest difference that this discordance allows.
    """
    z_a, z_b = _quantiles()
    linear, square = z_a * (n_images * discordance) ** 0.5, n_images + z_b**2
    rest = (z_a**2 - z_b**2) * discordance
    return min(discordance, float(linear + max(0.0, linear**2 - square * rest) ** 0.5) / square)


def images_needed(difference: float, discordance: float) -> int:
    """Number of paired images on which McNemar's test finds a difference in accuracy.

    Connor's equation of :func:`detectable_difference`, solved for n and rounded up. Trials that differ by more than
    they are discordant cannot be; the discordance then counts as equal to the difference.

    Raises:
        ValueError: when the difference is not above 0.
    """
    if difference <= 0:
        raise ValueError(f"no number of images shows a difference of {difference}")
    z_a, z_b = _quantiles()
    q = max(discordance, difference)
    root: float = (z_a * q**0.5 + z_b * (q - difference**2) ** 0.5) / difference
    return ceil(root**2)


def _quantiles() -> tuple[float, float]:
    return float(stats.norm.ppf((1 + LEVEL) / 2)), float(stats.norm.ppf(POWER))
