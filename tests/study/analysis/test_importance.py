import numpy as np
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from study.analysis import Withheld
from study.analysis.importance import importance

DIMENSIONS = {
    "depth": IntDistribution(0, 5),
    "lr": FloatDistribution(1e-5, 1e-2, log=True),
    "loss": CategoricalDistribution(("none", "balanced")),
}


def drawn(n, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "depth": pd.array(rng.integers(0, 6, n), dtype="Int64"),
            "lr": 10 ** rng.uniform(-5, -2, n),
            "loss": rng.choice(["none", "balanced"], n),
            "score": rng.normal(0.5, 0.02, n),
            "gap_last": rng.normal(0.2, 0.02, n),
        }
    )


def test_planted_dimension_comes_first_and_above_chance():
    table = drawn(60)
    table["score"] += 0.1 * np.log10(table["lr"])
    found = importance(table, DIMENSIONS, "score")
    assert found.bars[0].dimension == "lr"
    assert found.bars[0].share > found.bars[0].chance
    assert sum(bar.share for bar in found.bars) == pytest.approx(1)
    assert found.n == 60


def test_gap_counts_as_good_when_it_is_small():
    table = drawn(60)
    table["gap_last"] += 0.1 * table["depth"].astype(float)
    found = importance(table, DIMENSIONS, "gap_last")
    assert found.bars[0].dimension == "depth"
    assert found.bars[0].share > found.bars[0].chance


def test_noise_seldom_rises_above_chance():
    risen = [
        bar.share > bar.chance for seed in range(12) for bar in importance(drawn(40, seed), DIMENSIONS, "score").bars
    ]
    assert sum(risen) <= 6  # 36 bars at 5 % each: more than 6 would be a one in 200 case


def test_conditional_dimension_may_be_missing_in_some_trials():
    table = drawn(40)
    table.loc[::2, "lr"] = np.nan
    found = importance(table, DIMENSIONS, "score")
    assert {bar.dimension for bar in found.bars} == set(DIMENSIONS)


def test_fanova_finds_the_planted_dimension_on_its_logarithmic_scale():
    table = drawn(60)
    table["score"] += 0.1 * np.log10(table["lr"])
    found = importance(table, DIMENSIONS, "score", "fanova")
    assert (found.method, found.bars[0].dimension, found.n) == ("fanova", "lr", 60)
    assert found.bars[0].share > 0.7  # nearly all of the variance, whatever the scale
    assert all((bar.share > bar.chance) is (bar.dimension == "lr") for bar in found.bars)


def test_fanova_leaves_out_what_some_trials_do_not_have():
    table = drawn(40)
    table.loc[::2, "loss"] = np.nan
    found = importance(table, DIMENSIONS, "score", "fanova")
    assert found.left_out == ("loss",)
    assert {bar.dimension for bar in found.bars} == {"depth", "lr"}


def test_fanova_needs_more_trials():
    found = importance(drawn(29), DIMENSIONS, "score", "fanova")
    assert isinstance(found, Withheld)
    assert "at least 30 completed trials, there are 29" in found.reason


@pytest.mark.parametrize(
    ("table", "dimensions", "reason"),
    [
        (drawn(19), DIMENSIONS, "at least 20 completed trials, there are 19"),
        (drawn(30), {"lr": DIMENSIONS["lr"]}, "fewer than two"),
        (drawn(30).assign(score=0.5), DIMENSIONS, "same score"),
    ],
)
def test_invalid_importance_says_why(table, dimensions, reason):
    found = importance(table, dimensions, "score")
    assert isinstance(found, Withheld)
    assert reason in found.reason
