"""Suspect labels: correct grades must not be called wrong, and wrong grades must rank first."""

from functools import partial

import numpy as np
from scipy import special

from benchmarks.simulations.base import Rng, Simulation, share_of
from benchmarks.simulations.grading import VALIDATION
from study.analysis import Estimate, Withheld, proportion
from study.analysis.label_errors import OutOfSamplePredictions, find_label_errors, normalized_margins

TRIALS = 10
WRONG = 6
"""Wrong grades among 83 images: the share on which two graders of one clinic may differ."""


def votes(information: float, rng: Rng) -> OutOfSamplePredictions:
    """Draw overconfident trials whose probabilities are correlated, and grades that follow the true probabilities.

    Args:
        information: how much an image reveals of its grade; 0 for nothing.
        rng: source of randomness.
    """
    n = sum(VALIDATION)
    prior = np.log(np.array(VALIDATION) / n)
    logits = prior + rng.normal(0, 1, (n, 5)) * information
    grades = (special.softmax(logits, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, 4)
    common = 1.6 * logits if information else 1.6 * (prior + rng.normal(0, 2, (n, 5)))
    probabilities = special.softmax(common + rng.normal(0, 0.7, (TRIALS, n, 5)), axis=2)
    return OutOfSamplePredictions(tuple(map(str, range(n))), grades, probabilities)


def _called(rng: Rng, information: float) -> bool:
    found = find_label_errors(votes(information, rng))
    return not isinstance(found, Withheld) and found.beyond_chance > 0


def _outranked(runs: int, rng: Rng) -> Estimate:
    """Return the share of pairs of a wrong grade and a correct one in which the wrong one is more suspect."""
    return proportion(sum(_outranked_pairs(votes(2.5, rng), rng) for _ in range(runs)), runs * WRONG)


def _outranked_pairs(drawn: OutOfSamplePredictions, rng: Rng) -> int:
    grades = drawn.grades.copy()
    order = rng.permutation(len(drawn.ids))
    wrong, correct = order[:WRONG], order[WRONG : 2 * WRONG]
    grades[wrong] = (grades[wrong] + rng.integers(1, 5, WRONG)) % 5
    margins = normalized_margins(grades, drawn.probabilities.mean(axis=0))
    return int((margins[wrong] < margins[correct]).sum())


SIMULATIONS = (
    Simulation(
        "suspects-right",
        "Of 83 images whose grades are all right, one is called suspect beyond chance",
        0.1,
        share_of(partial(_called, information=2.5)),
        "at most",
    ),
    Simulation(
        "suspects-ignorant",
        "Of 83 images, trials without any information call one suspect beyond chance",
        0.1,
        share_of(partial(_called, information=0.0)),
        "at most",
    ),
    Simulation(
        "suspects-planted",
        "A planted wrong grade is more suspect than a right one (chance: 50%)",
        0.8,
        _outranked,
        "at least",
        runs=300,
    ),
)
