"""Grading, referable retinopathy and calibration, on as few and as uneven images as IDRiD's parts have."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.simulations.base import Simulation
from benchmarks.simulations.intervals import LEVEL, covered
from drft.metrics import balanced_accuracy, qwk
from study.analysis import (
    Estimate,
    Withheld,
    calibration,
    grading,
    macro_auroc,
    proportion,
    referable,
    referable_threshold,
    tempered,
)

VALIDATION = (27, 4, 27, 15, 10)
"""Images of each grade among 83, as a fifth of IDRiD's training set (134, 20, 136, 74, 49) has them."""

TEST = (17, 3, 16, 10, 7)
"""Images of each grade among 53."""

PARTS = {"83": VALIDATION, "53": TEST}

Graded = tuple[NDArray[np.int64], NDArray[np.float64]]


def drawn(counts: tuple[int, ...], rng: np.random.Generator) -> Graded:
    """Draw images of each grade, and the probabilities of a training that sees the grade through noise.

    Neighbouring grades are confused most, rare ones are given seldom, about 58 % are graded rightly and kappa is 0.77.
    """
    grades = np.repeat(np.arange(5), counts)
    seen = grades[:, None] + rng.normal(0, 1, (len(grades), 1))
    liking = 0.7 * np.log(np.array(VALIDATION) / sum(VALIDATION))
    logits = liking - 0.5 * (seen - np.arange(5)) ** 2 + rng.normal(0, 0.5, (len(grades), 5))
    return grades, special.softmax(logits, axis=1)


@cache
def population() -> list[NDArray[np.float64]]:
    """Return the probabilities of very many images of each grade: their shares are the truth."""
    rng = np.random.default_rng(0)
    return [drawn(tuple(100_000 * (np.arange(5) == grade)), rng)[1] for grade in range(5)]


@cache
def truth(metric: str, counts: tuple[int, ...]) -> float:
    """Return a metric on infinitely many images with this mix of grades."""
    shares = np.array([np.bincount(said.argmax(axis=1), minlength=5) / len(said) for said in population()])
    expected = shares * np.array(counts)[:, None]
    if metric == "auroc":
        grades = np.repeat(np.arange(5), 500 * np.array(counts))
        many = [said[: 500 * count] for said, count in zip(population(), counts, strict=True)]
        found = macro_auroc(grades, np.concatenate(many))
        return found.value if isinstance(found, Estimate) else np.nan
    told = {
        "accuracy": float(np.trace(expected) / expected.sum()),
        "kappa": qwk(expected),
        "balanced": balanced_accuracy(expected),
        "mild": float(shares[1, 1]),
    }
    return told[metric]


def _estimate(metric: str, graded: Graded) -> Estimate | Withheld:
    found = grading(*graded)
    assert not isinstance(found, Withheld)
    told = {
        "accuracy": found.accuracy,
        "kappa": found.qwk,
        "balanced": found.balanced_accuracy,
        "auroc": found.auroc,
        "mild": found.recall[1],
    }
    return told[metric]


def _metric(metric: str, counts: tuple[int, ...], runs: int, rng: np.random.Generator) -> Estimate:
    true = truth(metric, counts)
    return proportion(sum(_covers(_estimate(metric, drawn(counts, rng)), true) for _ in range(runs)), runs)


def _covers(found: Estimate | Withheld, true: float) -> bool:
    return isinstance(found, Estimate) and covered(found, true)


def _referable_area(counts: tuple[int, ...], runs: int, rng: np.random.Generator) -> Estimate:
    inside = np.concatenate(
        [said[: 100 * n, 2:].sum(axis=1) for said, n in zip(population()[2:], counts[2:], strict=True)]
    )
    outside = np.concatenate(
        [said[: 100 * n, 2:].sum(axis=1) for said, n in zip(population(), counts[:2], strict=False)]
    )
    true = float(np.searchsorted(np.sort(outside), inside).mean() / len(outside))
    told = (referable(*drawn(counts, rng)) for _ in range(runs))
    return proportion(sum(not isinstance(one, Withheld) and covered(one.auroc, true) for one in told), runs)


def _sensitivity(runs: int, rng: np.random.Generator) -> Estimate:
    """A threshold of the validation images, and what it reaches on test images against what it truly reaches."""
    hits = 0
    for _ in range(runs):
        threshold = referable_threshold(*drawn(VALIDATION, rng))
        assert isinstance(threshold, float)
        found = referable(*drawn(TEST, rng), threshold)
        assert not isinstance(found, Withheld)
        hits += covered(found.sensitivity, _true_rates(threshold, TEST)[0])
    return proportion(hits, runs)


def _flattery(runs: int, rng: np.random.Generator) -> Estimate:
    """Youden's index on the images that chose the threshold against what that threshold truly reaches."""
    hits = 0
    for _ in range(runs):
        found = referable(*drawn(VALIDATION, rng))
        assert not isinstance(found, Withheld)
        hits += found.sensitivity.value + found.specificity.value > sum(_true_rates(found.threshold, VALIDATION))
    return proportion(hits, runs)


def _true_rates(threshold: float, counts: tuple[int, ...]) -> tuple[float, float]:
    called = np.array([(said[:, 2:].sum(axis=1) >= threshold).mean() for said in population()])
    rates = np.average(called[2:], weights=counts[2:]), np.average(1 - called[:2], weights=counts[:2])
    return float(rates[0]), float(rates[1])


def _calibrated(degrees: float, rng: np.random.Generator, n: int = 83) -> Graded:
    """Draw grades from probabilities, and tell these as one would who is too sure by a temperature."""
    true = special.softmax(rng.normal(0, 1.5, (n, 5)), axis=1)
    grades = (true.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, 4)
    return grades, tempered(true, 1 / degrees)


def _temperature(runs: int, rng: np.random.Generator) -> Estimate:
    told = (calibration(*_calibrated(1.5, rng)) for _ in range(runs))
    return proportion(sum(not isinstance(one, Withheld) and _covers(one.temperature, 1.5) for one in told), runs)


def _overconfidence(runs: int, rng: np.random.Generator) -> Estimate:
    told = (calibration(*_calibrated(1.0, rng)) for _ in range(runs))
    return proportion(sum(not isinstance(one, Withheld) and covered(one.overconfidence, 0.0) for one in told), runs)


def _miscalled(runs: int, rng: np.random.Generator) -> Estimate:
    told = (calibration(*_calibrated(1.0, rng)) for _ in range(runs))
    return proportion(sum(not isinstance(one, Withheld) and one.ece > one.ece_limit for one in told), runs)


_METRICS = {
    "accuracy": "Wilson's interval of the accuracy",
    "kappa": "The bootstrap interval of the quadratic weighted kappa",
    "balanced": "The combined Wilson interval of the balanced accuracy",
    "auroc": "DeLong's interval of the macro AUROC",
    "mild": "The exact interval of the recall of the rarest grade",
}


def _on(n: str, name: str, claim: str, measure: Callable[[int, np.random.Generator], Estimate]) -> Simulation:
    return Simulation(f"{name}-{n}", f"{claim} over {n} images of uneven grades holds it", LEVEL, measure, "at least")


SIMULATIONS = (
    *(
        _on(n, f"grading-{metric}", claim, partial(_metric, metric, counts))
        for metric, claim in _METRICS.items()
        for n, counts in PARTS.items()
    ),
    *(
        _on(
            n, "referable-auroc", "DeLong's interval of the AUROC of referable grades", partial(_referable_area, counts)
        )
        for n, counts in PARTS.items()
    ),
    Simulation(
        "referable-sensitivity",
        "The exact interval on 53 test images, at a threshold of 83 validation images, holds the sensitivity there",
        LEVEL,
        _sensitivity,
        "at least",
    ),
    Simulation(
        "referable-optimism",
        "Youden's index is higher on the images that chose the threshold than it truly is",
        0.5,
        _flattery,
        "at least",
    ),
    Simulation(
        "calibration-temperature", "The interval of the temperature over 83 images holds it", LEVEL, _temperature
    ),
    Simulation(
        "calibration-overconfidence",
        "The interval of the overconfidence of a calibrated training over 83 images holds 0",
        LEVEL,
        _overconfidence,
    ),
    Simulation(
        "calibration-ece",
        "A calibrated training over 83 images is called miscalibrated",
        1 - LEVEL,
        _miscalled,
        "at most",
    ),
)
