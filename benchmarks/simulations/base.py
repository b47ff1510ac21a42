"""What a simulation is: a claim about a statistic, and what measures how often the claim comes true."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Literal, NamedTuple
from zlib import crc32

import numpy as np

import benchmarks.simulations as room
from study.analysis import Estimate

Promise = Literal["exactly", "at least", "at most"]
Measure = Callable[[int, np.random.Generator], Estimate]
"""Takes how many studies to simulate, and the only source of chance; returns the share in which the event occurred,
with its Monte-Carlo interval (``study.analysis.proportion`` makes it from hits and runs)."""


class Simulation(NamedTuple):
    """One claim of a statistic, checked where the truth is known."""

    name: str
    """Unique; by it ``python -m benchmarks.coverage --only`` chooses."""
    claim: str
    """The event whose rate is measured and the setting it is measured in, in words."""
    nominal: float
    """The rate that the statistic promises."""
    measure: Measure
    promise: Promise = "exactly"
    runs: int = 1000
    """How many studies are simulated where ``--runs`` does not say; fewer where one takes long."""


def simulations() -> tuple[Simulation, ...]:
    """Return the simulations of all modules in this folder, in the order of the modules' names."""
    names = sorted(module.name for module in pkgutil.iter_modules(room.__path__))
    modules = (importlib.import_module(f"{room.__name__}.{name}") for name in names if name not in {"base", "synthetic_candidates"})
    return tuple(simulation for module in modules for simulation in module.SIMULATIONS)


def measure(simulation: Simulation, runs: int, seed: int) -> Estimate:
    """Run one simulation; what it draws depends on the seed and its name alone."""
    return simulation.measure(runs, np.random.default_rng([seed, crc32(simulation.name.encode())]))


def kept(simulation: Simulation, found: Estimate) -> bool:
    """Say whether a promise is kept as far as the Monte-Carlo interval can tell."""
    assert found.low is not None
    assert found.high is not None
    enough = simulation.promise == "at most" or found.high >= simulation.nominal
    few_enough = simulation.promise == "at least" or found.low <= simulation.nominal
    return bool(enough and few_enough)
