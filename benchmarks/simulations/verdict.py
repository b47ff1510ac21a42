"""Simulations of the verdict: cross-validated depths whose true accuracies are known."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from benchmarks.simulations.base import LEVEL, Measure, Rng, Simulation, share_of
from study.analysis import Estimate, proportion
from study.analysis.verdict import CONFIDENCE, TOLERANCE, DepthEvidence, Verdict, decide_depth

IMAGES = 413
"""Training images of IDRiD."""

DEPTHS = 9
FOLDS = 5


class CrossValidated(NamedTuple):
    """Evidence, and what it is evidence of."""

    evidence: tuple[DepthEvidence, ...]
    accuracies: NDArray[np.float64]
    """Expected accuracy on new images of a training at each depth, shape (depths,)."""
    gaps: NDArray[np.float64]
    """Expected gap at each depth, likewise."""


def cross_validate(rng: Rng, curve: NDArray[np.float64], images: int = IMAGES, repeats: int = 1) -> CrossValidated:
    """Simulate the cross-validation of some depths.

    An image is classified correctly if the sum of five parts is positive: what its depth is good for (``curve``), how
    easy the image is, how easy it is for this depth, how good the training of its fold turned out, and chance. All are
    normal (a probit model with crossed random effects), with sizes that give deviations between trainings of 2 to 3
    points.

    Args:
        rng: of all parts.
        curve: shape (depths,), on the scale of a standard normal variable.
        images: number of images.
        repeats: rounds of cross-validation.
    """
    image_sd, own_sd, training_sd = 1.0, 0.5, 0.08
    accuracies = norm.cdf(curve / np.sqrt(1 + image_sd**2 + own_sd**2 + training_sd**2))
    gaps: NDArray[np.float64] = 0.02 + 0.02 * np.arange(len(curve), dtype=np.float64)
    ease = rng.normal(0, image_sd, images)
    folds = np.array([rng.permutation(np.arange(images) % FOLDS) for _ in range(repeats)])
    evidence = []
    for depth, level in enumerate(curve):
        own = ease + rng.normal(0, own_sd, images)
        trainings = rng.normal(0, training_sd, (repeats, FOLDS))
        latent = level + own + np.take_along_axis(trainings, folds, axis=1)
        correct = rng.normal(size=latent.shape) < latent
        validation = [correct[row][folds[row] == fold].mean() for row in range(repeats) for fold in range(FOLDS)]
        train = accuracies[depth] + gaps[depth] + rng.normal(0, 0.01, len(validation))
        fraction = depth / (len(curve) - 1)
        measured = train - np.array(validation)
        evidence.append(DepthEvidence(depth, fraction, fraction, correct, folds, measured, measured))
    return CrossValidated(tuple(evidence), accuracies, gaps)


def flat(_rng: Rng) -> NDArray[np.float64]:
    """Return a curve without an effect of depth."""
    return np.full(DEPTHS, 0.45)


def rising(_rng: Rng) -> NDArray[np.float64]:
    """Return a curve that rises by 13 points and levels off."""
    return np.array([0.1 + 0.5 * (1 - np.exp(-depth / 2)) for depth in range(DEPTHS)])


def stepped(_rng: Rng) -> NDArray[np.float64]:
    """Return a curve that rises by 4 points at the first block, and by 4.5 over all others."""
    return np.concatenate([[0.19], 0.34 + 0.025 * np.arange(DEPTHS - 1)])


def peaked(_rng: Rng) -> NDArray[np.float64]:
    """Return a curve that is highest at a middle depth, 12 points above its ends."""
    return np.array([0.5 - 0.03 * (depth - 4) ** 2 for depth in range(DEPTHS)])


def wandering(rng: Rng) -> NDArray[np.float64]:
    """Return a random walk."""
    return 0.4 + np.cumsum(rng.normal(0, 0.12, DEPTHS))


Curve = Callable[[Rng], NDArray[np.float64]]
Event = Callable[[Verdict, CrossValidated], bool]


def often(curve: Curve, event: Event) -> Measure:
    """Return a measure of how often an event happens in the verdict of a curve."""

    def happens(rng: Rng) -> bool:
        data = cross_validate(rng, curve(rng))
        return event(decide_depth(data.evidence), data)

    return share_of(happens)


def accuracies_covered(verdict: Verdict, data: CrossValidated) -> bool:
    """Return whether the intervals of all depths hold the true accuracies."""
    return all(_holds(row.accuracy, truth) for row, truth in zip(verdict.by_depth, data.accuracies, strict=True))


def gaps_covered(verdict: Verdict, data: CrossValidated) -> bool:
    """Return whether the intervals of all depths hold the true gaps."""
    return all(_holds(row.gap, truth) for row, truth in zip(verdict.by_depth, data.gaps, strict=True))


def accuracy_covered(verdict: Verdict, data: CrossValidated) -> bool:
    """Return whether the interval of the recommended depth's accuracy holds it."""
    return _holds(verdict.accuracy, data.accuracies[verdict.recommended_depth])


def contrasts_covered(verdict: Verdict, data: CrossValidated) -> list[bool]:
    """Return for each contrast whether its interval holds the true difference."""
    best = data.accuracies[verdict.recommended_depth]
    return [
        _holds(contrast.difference, best - data.accuracies[contrast.other_depth])
        for contrast in verdict.contrasts
        if contrast.other_depth is not None
    ]


def gain_over_head_alone_covered(verdict: Verdict, data: CrossValidated) -> bool:
    """Return whether the interval of the gain over the head alone holds it; true if the head alone is recommended."""
    gain = data.accuracies[verdict.recommended_depth] - data.accuracies[0]
    return all(_holds(contrast.difference, gain) for contrast in verdict.contrasts if contrast.other == "head alone")


def claims(verdict: Verdict, _data: CrossValidated) -> bool:
    """Return whether any contrast excludes a difference of 0."""
    return any(not _holds(contrast.difference, 0.0) for contrast in verdict.contrasts)


def beats_head_alone(verdict: Verdict, _data: CrossValidated) -> bool:
    """Return whether the recommended depth is shown to be better than the head alone."""
    return any(
        contrast.other == "head alone" and (contrast.difference.low or 0.0) > 0 for contrast in verdict.contrasts
    )


def _holds(estimate: Estimate, truth: float) -> bool:
    assert estimate.low is not None
    assert estimate.high is not None
    return bool(estimate.low <= truth <= estimate.high)


def _contrasts_hold(runs: int, rng: Rng) -> Estimate:
    held: list[bool] = []
    for _ in range(runs):
        data = cross_validate(rng, wandering(rng))
        held += contrasts_covered(decide_depth(data.evidence), data)
    return proportion(sum(held), len(held))


def _certain_is_within(runs: int, rng: Rng) -> Estimate:
    within: list[bool] = []
    while len(within) < runs:
        data = cross_validate(rng, wandering(rng))
        verdict = decide_depth(data.evidence)
        if verdict.certain:
            loss = data.accuracies.max() - data.accuracies[verdict.recommended_depth]
            within.append(bool(loss <= TOLERANCE))
    return proportion(sum(within), len(within))


SIMULATIONS = (
    Simulation(
        "verdict-accuracies-rising",
        f"The intervals of all {DEPTHS} depths hold their accuracies together, {IMAGES} images, a rising curve",
        LEVEL,
        often(rising, accuracies_covered),
        "at least",
        200,
    ),
    Simulation(
        "verdict-accuracies-peaked",
        "The same, with a peak at a middle depth",
        LEVEL,
        often(peaked, accuracies_covered),
        "at least",
        200,
    ),
    Simulation(
        "verdict-accuracies-flat",
        "The same, where depth has no effect",
        LEVEL,
        often(flat, accuracies_covered),
        "at least",
        200,
    ),
    Simulation(
        "verdict-gaps",
        f"The intervals of all {DEPTHS} depths hold their gaps together, a rising curve",
        LEVEL,
        often(rising, gaps_covered),
        "at least",
        200,
    ),
    Simulation(
        "verdict-recommended",
        "The interval of the recommended depth's accuracy holds it, although the depth was chosen, no effect of depth",
        LEVEL,
        often(flat, accuracy_covered),
        "at least",
        200,
    ),
    Simulation(
        "verdict-contrasts",
        "The interval of a contrast with the recommended depth holds the difference, random curves",
        LEVEL,
        _contrasts_hold,
        "at least",
        200,
    ),
    Simulation(
        "verdict-head-alone",
        "The interval of the contrast with the head alone holds the difference, where the first block gains 4 points",
        LEVEL,
        often(stepped, gain_over_head_alone_covered),
        "at least",
        200,
    ),
    Simulation(
        "verdict-certain",
        f"A depth that is said to be within {TOLERANCE:.0%} of the best with probability {CONFIDENCE:.0%} is, random "
        "curves",
        CONFIDENCE,
        _certain_is_within,
        "at least",
        200,
    ),
    Simulation(
        "verdict-size",
        "Some contrast excludes 0 where depth has no effect",
        1 - LEVEL,
        often(flat, claims),
        "at most",
        200,
    ),
    Simulation(
        "verdict-power",
        "The recommended depth is shown to be better than the head alone where it is, by 13 points",
        0.9,
        often(rising, beats_head_alone),
        "at least",
        200,
    ),
)
