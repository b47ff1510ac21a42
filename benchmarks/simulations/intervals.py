"""The intervals every chapter uses: Wilson's, Student's and the percentile bootstrap."""

from collections.abc import Callable

import numpy as np

from benchmarks.simulations.base import Simulation
from study.analysis import Estimate, bootstrap_mean, mean_estimate, proportion

LEVEL = 0.95


def covered(found: Estimate, truth: float) -> bool:
    """Say whether an interval holds the truth."""
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


def _wilson(runs: int, rng: np.random.Generator) -> Estimate:
    truths = rng.uniform(0.3, 0.9, runs)
    return proportion(sum(covered(proportion(int(rng.binomial(83, p)), 83), p) for p in truths), runs)


def _mean(estimate: Callable[[np.ndarray], Estimate], n: int) -> Callable[[int, np.random.Generator], Estimate]:
    def measure(runs: int, rng: np.random.Generator) -> Estimate:
        return proportion(sum(covered(estimate(rng.normal(0.05, 0.03, n)), 0.05) for _ in range(runs)), runs)

    return measure


SIMULATIONS = (
    Simulation("intervals-wilson", "Wilson's interval of an accuracy over 83 images holds it", LEVEL, _wilson),
    Simulation("intervals-t", "Student's interval of a mean of 10 trials holds it", LEVEL, _mean(mean_estimate, 10)),
    Simulation(
        "intervals-bootstrap",
        "The percentile bootstrap's interval of a mean of 30 trials holds it",
        LEVEL,
        _mean(bootstrap_mean, 30),
    ),
)
