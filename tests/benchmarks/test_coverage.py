"""The benchmark of coverage: simulations have unique names, and a verdict follows from their interval."""

import pytest
from rich.console import Console

from benchmarks.coverage import rows, run
from benchmarks.simulations.base import Simulation, covered, is_kept, measure, simulations, valid
from study.analysis import Estimate, Withheld, proportion


def claim(promise, hits=90, runs=100, nominal=0.95):
    return Simulation("made", "It happens", nominal, lambda runs, rng: proportion(hits, runs), promise, runs)


def test_simulations_have_unique_names():
    names = [simulation.name for simulation in simulations()]
    assert names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("promise", "hits", "expected"),
    [
        ("exactly", 95, True),
        ("exactly", 80, False),
        ("exactly", 100, False),
        ("at least", 100, True),
        ("at least", 80, False),
        ("at most", 80, True),
    ],
)
def test_a_promise_is_broken_only_when_its_interval_excludes_it(promise, hits, expected):
    assert is_kept(claim(promise), proportion(hits, 100)) is expected


def test_a_rate_that_is_too_high_breaks_at_most():
    assert not is_kept(claim("at most", nominal=0.05), proportion(20, 100))


def test_only_an_interval_with_the_truth_covers_it():
    assert covered(Estimate(0.5, 0.4, 0.6, 9), 0.6)
    assert not covered(Estimate(0.5, 0.4, 0.6, 9), 0.61)
    assert not covered(Estimate(0.5, None, None, 9), 0.5)
    assert not covered(Withheld("too few"), 0.5)


def test_a_withheld_statistic_is_an_error_in_a_simulation():
    assert valid(proportion(1, 2)) == proportion(1, 2)
    with pytest.raises(RuntimeError, match="too few"):
        valid(Withheld("too few"))


def test_a_simulation_is_reproducible():
    coin = Simulation("coin", "Heads", 0.5, lambda runs, rng: proportion(int(rng.binomial(runs, 0.5)), runs))
    assert measure(coin, 1000, seed=1) == measure(coin, 1000, seed=1)
    assert measure(coin, 1000, seed=1) != measure(coin, 1000, seed=2)


def test_every_simulation_returns_a_rate_with_its_interval():
    for simulation in simulations():
        rate = measure(simulation, 3, seed=0)
        assert 0 <= rate.low <= rate.value <= rate.high <= 1
        assert rate.n >= 3


def test_a_run_becomes_a_table():
    result = run([claim("at least")], None, seed=0, quick=False, console=Console(quiet=True))
    ((name, event, promised, measured, interval, studies, verdict),) = rows(result["simulations"])
    assert (name, event, promised, measured, studies, verdict) == (
        *("made", "It happens", "at least 95.0%", "90.0%", "100", "no"),
    )
    assert interval == "82.6% to 94.5%"


def test_a_quick_run_simulates_a_tenth():
    certain = Simulation("certain", "It happens", 1.0, lambda runs, rng: proportion(runs, runs), runs=200)
    result = run([certain], None, seed=0, quick=True, console=Console(quiet=True))
    assert result["simulations"]["certain"]["runs"] == 20
