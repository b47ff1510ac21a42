"""Grading, referable retinopathy and calibration, on as few and as imbalanced images as the parts of IDRiD."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.simulations.base import LEVEL, Rng, Simulation, covered, share_of, valid
from drft.metrics import balanced_accuracy, qwk
from study.analysis import Estimate, Withheld
from study.analysis.estimators.auroc import macro_auroc
from study.analysis.estimators.calibration import calibration, temperature_scaled
from study.analysis.estimators.grading import grading
from study.analysis.estimators.referable import referable, referable_threshold

VALIDATION = (27, 4, 27, 15, 10)
"""Images of each grade among 83, like a fifth of IDRiD's training set (134, 20, 136, 74, 49)."""

TEST = (17, 3, 16, 10, 7)
"""Images of each grade among 53."""

PARTS = {"83": VALIDATION, "53": TEST}

Graded = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Grades (images,) and class probabilities (images, grades)."""


def draw_graded(counts: tuple[int, ...], rng: Rng) -> Graded:
    """Draw images of each grade, and the probabilities of a training that sees the grade with noise.

    Neighbouring grades are confused most, rare grades are predicted seldom, about 58 % of the predictions are correct
    and kappa is 0.77.
    """
    grades = np.repeat(np.arange(5), counts)
    seen = grades[:, None] + rng.normal(0, 1, (len(grades), 1))
    prior = 0.7 * np.log(np.array(VALIDATION) / sum(VALIDATION))
    logits = prior - 0.5 * (seen - np.arange(5)) ** 2 + rng.normal(0, 0.5, (len(grades), 5))
    return grades, special.softmax(logits, axis=1)


@cache
def population() -> list[NDArray[np.float64]]:
    """Return the probabilities of 100,000 images of each grade; their statistics are the truth."""
    rng = np.random.default_rng(0)
    return [draw_graded(tuple(100_000 * (np.arange(5) == grade)), rng)[1] for grade in range(5)]


@cache
def truth(metric: str, counts: tuple[int, ...]) -> float:
    """Return a metric on infinitely many images with this distribution of grades."""
    if metric == "auroc":
        grades = np.repeat(np.arange(5), 500 * np.array(counts))
        drawn = [grade[: 500 * count] for grade, count in zip(population(), counts, strict=True)]
        return valid(macro_auroc(grades, np.concatenate(drawn))).value
    shares = np.array([np.bincount(grade.argmax(axis=1), minlength=5) / len(grade) for grade in population()])
    confusion = shares * np.array(counts)[:, None]
    metrics = {
        "accuracy": float(np.trace(confusion) / confusion.sum()),
        "kappa": qwk(confusion),
        "balanced": balanced_accuracy(confusion),
        "mild": float(shares[1, 1]),
    }
    return metrics[metric]


@cache
def true_referable_auroc(counts: tuple[int, ...]) -> float:
    """Return the AUROC of referable grades on infinitely many images with this distribution of grades."""
    scores = [grade[: 100 * count, 2:].sum(axis=1) for grade, count in zip(population(), counts, strict=True)]
    referable_scores, other_scores = np.concatenate(scores[2:]), np.concatenate(scores[:2])
    return float(np.searchsorted(np.sort(other_scores), referable_scores).mean() / len(other_scores))


def true_rates(threshold: float, counts: tuple[int, ...]) -> tuple[float, float]:
    """Return the true sensitivity and specificity at a threshold for referable grades."""
    called = np.array([(grade[:, 2:].sum(axis=1) >= threshold).mean() for grade in population()])
    rates = np.average(called[2:], weights=counts[2:]), np.average(1 - called[:2], weights=counts[:2])
    return float(rates[0]), float(rates[1])


def _metric_covered(rng: Rng, metric: str, counts: tuple[int, ...]) -> bool:
    true = truth(metric, counts)
    found = valid(grading(*draw_graded(counts, rng)))
    estimates: dict[str, Estimate | Withheld] = {
        "accuracy": found.accuracy,
        "kappa": found.qwk,
        "balanced": found.balanced_accuracy,
        "auroc": found.auroc,
        "mild": found.recall[1],
    }
    return covered(estimates[metric], true)


def _referable_auroc_covered(rng: Rng, counts: tuple[int, ...]) -> bool:
    found = referable(*draw_graded(counts, rng))
    return not isinstance(found, Withheld) and covered(found.auroc, true_referable_auroc(counts))


def _sensitivity_covered(rng: Rng) -> bool:
    """Compare the interval on test images, at a threshold from validation images, with the true sensitivity there."""
    threshold = valid(referable_threshold(*draw_graded(VALIDATION, rng)))
    found = valid(referable(*draw_graded(TEST, rng), threshold))
    return covered(found.sensitivity, true_rates(threshold, TEST)[0])


def _youden_is_optimistic(rng: Rng) -> bool:
    """Compare Youden's index on the images that chose the threshold with its true value at that threshold."""
    found = valid(referable(*draw_graded(VALIDATION, rng)))
    return found.sensitivity.value + found.specificity.value > sum(true_rates(found.threshold, VALIDATION))


def _draw_calibrated(degrees: float, rng: Rng, n: int = 83) -> Graded:
    """Draw grades from probabilities, and return these probabilities as overconfident by a temperature."""
    true = special.softmax(rng.normal(0, 1.5, (n, 5)), axis=1)
    grades = (true.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, 4)
    return grades, temperature_scaled(true, 1 / degrees)


def _temperature_covered(rng: Rng) -> bool:
    found = calibration(*_draw_calibrated(1.5, rng))
    return not isinstance(found, Withheld) and covered(found.temperature, 1.5)


def _overconfidence_covered(rng: Rng) -> bool:
    found = calibration(*_draw_calibrated(1.0, rng))
    return not isinstance(found, Withheld) and covered(found.overconfidence, 0.0)


def _called_miscalibrated(rng: Rng) -> bool:
    found = calibration(*_draw_calibrated(1.0, rng))
    return not isinstance(found, Withheld) and found.ece > found.ece_limit


_METRICS = {
    "accuracy": "Wilson's interval of the accuracy",
    "kappa": "The bootstrap interval of the quadratic weighted kappa",
    "balanced": "The combined Wilson interval of the balanced accuracy",
    "auroc": "DeLong's interval of the macro AUROC",
    "mild": "The exact interval of the recall of the rarest grade",
}


def _on_part(n: str, name: str, statistic: str, event: Callable[[Rng], bool]) -> Simulation:
    claim = f"{statistic} over {n} images of imbalanced grades contains it"
    return Simulation(f"{name}-{n}", claim, LEVEL, share_of(event), "at least")


SIMULATIONS = (
    *(
        _on_part(n, f"grading-{metric}", statistic, partial(_metric_covered, metric=metric, counts=counts))
        for metric, statistic in _METRICS.items()
        for n, counts in PARTS.items()
    ),
    *(
        _on_part(
            n,
            "referable-auroc",
            "DeLong's interval of the AUROC of referable grades",
            partial(_referable_auroc_covered, counts=counts),
        )
        for n, counts in PARTS.items()
    ),
    Simulation(
        "referable-sensitivity",
        "The exact interval on 53 test images, at a threshold of 83 validation images, contains the sensitivity there",
        LEVEL,
        share_of(_sensitivity_covered),
        "at least",
    ),
    Simulation(
        "referable-optimism",
        "Youden's index is higher on the images that chose the threshold than it truly is",
        0.5,
        share_of(_youden_is_optimistic),
        "at least",
    ),
    Simulation(
        "calibration-temperature",
        "The interval of the temperature over 83 images contains it",
        LEVEL,
        share_of(_temperature_covered),
    ),
    Simulation(
        "calibration-overconfidence",
        "The interval of the overconfidence of a calibrated training over 83 images contains 0",
        LEVEL,
        share_of(_overconfidence_covered),
    ),
    Simulation(
        "calibration-ece",
        "A calibrated training over 83 images is called miscalibrated",
        1 - LEVEL,
        share_of(_called_miscalibrated),
        "at most",
    ),
)
