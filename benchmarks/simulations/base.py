"""The definition of a simulation: a claim about a statistic, and a function that measures how often it is true."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar
from zlib import crc32

import numpy as np

import benchmarks.simulations as package
from study.analysis import Estimate, Withheld, proportion

LEVEL = 0.95
"""Confidence level of the intervals of a report."""

Rng = np.random.Generator
Promise = Literal["exactly", "at least", "at most"]
Measure = Callable[[int, Rng], Estimate]
"""Takes the number of studies to simulate, and the only source of randomness; returns the share in which the event
occurred, with its Monte-Carlo interval."""

_Result = TypeVar("_Result")


class Simulation(NamedTuple):
    """One claim about a statistic, checked where the truth is known."""

    name: str
    """Unique; ``python -m benchmarks.coverage --only`` selects by it."""
    claim: str
    """The event whose rate is measured, and the setting."""
    nominal: float
    """The rate that the statistic promises."""
    measure: Measure
    promise: Promise = "exactly"
    runs: int = 1000
    """Studies to simulate by default; fewer where one takes long."""


def simulations() -> tuple[Simulation, ...]:
    """Return the simulations of all modules in this folder, in the order of the modules' names."""
    names = sorted(
        {module.name for module in pkgutil.iter_modules(package.__path__)} - {"base", "synthetic_candidates"}
    )
    modules = (importlib.import_module(f"{package.__name__}.{name}") for name in names)
    return tuple(simulation for module in modules for simulation in module.SIMULATIONS)


def measure(simulation: Simulation, runs: int, seed: int) -> Estimate:
    """Run one simulation; its random numbers depend only on the seed and its name."""
    return simulation.measure(runs, np.random.default_rng([seed, crc32(simulation.name.encode())]))


def is_kept(simulation: Simulation, rate: Estimate) -> bool:
    """Return whether the Monte-Carlo interval of the measured rate is consistent with the promise."""
    assert rate.low is not None
    assert rate.high is not None
    enough = simulation.promise == "at most" or rate.high >= simulation.nominal
    few_enough = simulation.promise == "at least" or rate.low <= simulation.nominal
    return bool(enough and few_enough)


def share_of(event: Callable[[Rng], bool]) -> Measure:
    """Return a measure of how often an event happens."""
    return lambda runs, rng: proportion(sum(bool(event(rng)) for _ in range(runs)), runs)


def valid(result: _Result | Withheld) -> _Result:
    """Return a statistic.

    Raises:
        RuntimeError: when it is withheld.
    """
    if isinstance(result, Withheld):
        raise RuntimeError(result.reason)  # noqa: TRY004 (not a wrong type: the simulated study is too small)
    return result


def covered(estimate: Estimate | Withheld, truth: float) -> bool:
    """Return whether there is an interval and it contains the truth."""
    if isinstance(estimate, Withheld) or estimate.low is None or estimate.high is None:
        return False
    return estimate.low <= truth <= estimate.high
