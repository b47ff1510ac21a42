"""The intervals of every chapter: Wilson's, Student's and the percentile bootstrap."""

from collections.abc import Callable

import numpy as np

from benchmarks.simulations.base import LEVEL, Measure, Rng, Simulation, covered, share_of
from study.analysis import Estimate, proportion
from study.analysis.estimators.intervals import bootstrap_mean, mean_estimate


def _wilson(runs: int, rng: Rng) -> Estimate:
    truths = rng.uniform(0.3, 0.9, runs)
    return proportion(sum(covered(proportion(int(rng.binomial(83, p)), 83), p) for p in truths), runs)


def _mean(estimate: Callable[[np.ndarray], Estimate], n: int) -> Measure:
    return share_of(lambda rng: covered(estimate(rng.normal(0.05, 0.03, n)), 0.05))


SIMULATIONS = (
    Simulation("intervals-wilson", "Wilson's interval of an accuracy over 83 images contains it", LEVEL, _wilson),
    Simulation("intervals-t", "Student's interval of a mean of 10 trials contains it", LEVEL, _mean(mean_estimate, 10)),
    Simulation(
        "intervals-bootstrap",
        "The percentile bootstrap's interval of a mean of 30 trials contains it",
        LEVEL,
        _mean(bootstrap_mean, 30),
    ),
)
