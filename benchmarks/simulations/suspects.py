"""Suspect labels: right grades must not be called wrong, and planted wrong ones must stand out."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.simulations.base import Simulation
from benchmarks.simulations.grading import VALIDATION
from study.analysis import Estimate, Votes, Withheld, normalized_margins, proportion, suspects

TRIALS = 10
PLANTED = 6
"""Wrong grades among 83 images: the share that two graders of one clinic may differ by."""


def votes(known: float, rng: np.random.Generator) -> Votes:
    """Draw trials that share most of what they believe, all of them too sure of it, and grades that follow the truth.

    ``known`` is how much an image says of its grade: 0 for nothing at all.
    """
    n = sum(VALIDATION)
    commonness = np.log(np.array(VALIDATION) / n)
    logits = commonness + rng.normal(0, 1, (n, 5)) * known
    grades = (special.softmax(logits, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, 4)
    told = 1.6 * logits if known else 1.6 * (commonness + rng.normal(0, 2, (n, 5)))
    said = special.softmax(told + rng.normal(0, 0.7, (TRIALS, n, 5)), axis=2)
    return Votes(tuple(map(str, range(n))), grades, said)


def _called(known: float, runs: int, rng: np.random.Generator) -> Estimate:
    told = (suspects(votes(known, rng)) for _ in range(runs))
    return proportion(sum(not isinstance(one, Withheld) and one.beyond_chance > 0 for one in told), runs)


def _right(runs: int, rng: np.random.Generator) -> Estimate:
    return _called(2.5, runs, rng)


def _ignorant(runs: int, rng: np.random.Generator) -> Estimate:
    return _called(0.0, runs, rng)


def _planted(runs: int, rng: np.random.Generator) -> Estimate:
    """Pairs of a planted wrong grade and a right one, in which the wrong one is more suspect."""
    won = sum(_outranked(votes(2.5, rng), rng) for _ in range(runs))
    return proportion(won, runs * PLANTED)


def _outranked(asked: Votes, rng: np.random.Generator) -> int:
    grades, n = asked.grades.copy(), len(asked.ids)
    chosen = rng.permutation(n)
    wrong, right = chosen[:PLANTED], chosen[PLANTED : 2 * PLANTED]
    grades[wrong] = (grades[wrong] + rng.integers(1, 5, PLANTED)) % 5
    margins: NDArray[np.float64] = normalized_margins(grades, asked.probabilities.mean(axis=0))
    return int((margins[wrong] < margins[right]).sum())


SIMULATIONS = (
    Simulation(
        "suspects-right",
        "Of 83 images whose grades are all right, one is called suspect beyond chance",
        0.1,
        _right,
        "at most",
    ),
    Simulation(
        "suspects-ignorant",
        "Of 83 images, trials that know nothing call one suspect beyond chance",
        0.1,
        _ignorant,
        "at most",
    ),
    Simulation(
        "suspects-planted",
        "A planted wrong grade is more suspect than a right one (chance: 50%)",
        0.8,
        _planted,
        "at least",
        runs=300,
    ),
)
