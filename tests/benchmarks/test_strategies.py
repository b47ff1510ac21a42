"""The benchmark of strategies: pairs by seed, intervals that account for overlapping splits, valid settings."""

from argparse import Namespace

import pytest

from benchmarks.strategies import compare, corrected_interval, notes, plan, table
from benchmarks.strategy_list import STRATEGIES

ARGS = Namespace(backbone="mobilenetv3_small_050", weights=None, normalization="auto", quick=False, only=(), seeds=2)


def test_every_strategy_differs_from_the_baseline_of_its_seed():
    configs = plan(ARGS)
    assert len(configs) == 2 * (len(STRATEGIES) + 1)
    for (name, seed), config in configs.items():
        assert (config.seed, config.split.seed, config.augmentation.seed) == (seed, seed, seed)
        assert (config == configs["baseline", seed]) == (name == "baseline")


def test_the_interval_is_wider_than_that_of_independent_splits():
    mean, low, high = corrected_interval([0.01, 0.02, 0.03], ratio=0.25)
    assert mean == pytest.approx(0.02)
    half = pytest.approx(4.302653 * (1e-4 * (1 / 3 + 0.25)) ** 0.5, rel=1e-6)
    assert (high - mean, mean - low) == (half, half)


def test_strategies_are_compared_seed_by_seed():
    base = {"accuracy": 0.5, "qwk": 0.6, "nll": 1.0, "gap": 0.1, "seconds": 10.0}
    trained = {
        ("baseline", 0): base,
        ("focal loss 2", 0): {**base, "accuracy": 0.54, "seconds": 20.0},
        ("baseline", 1): {**base, "accuracy": 0.7},
        ("focal loss 2", 1): {**base, "accuracy": 0.76, "seconds": 20.0},
    }
    (row,) = rows = compare(trained, ratio=0.25)
    assert row["accuracy"][0] == pytest.approx(0.05)
    assert row["qwk"] == (0, 0, 0)
    assert row["seconds"] is None
    assert table(rows)[1][0][:3] == ["focal loss 2", "Lin et al. 2017", "+5.0 (-10.6 to +20.6)"]
    assert table(rows)[1][0][3:] == ["as before", "as before", "as before", ""]
    result = {"baseline": base, "strategies": rows, "seeds": 2, "validation": 83}
    assert "Excluding 0: none" in notes(result)[-1]
