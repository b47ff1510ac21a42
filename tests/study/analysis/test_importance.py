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
    result = importance(table, DIMENSIONS, "score")
    assert result.bars[0].dimension == "lr"
    assert result.bars[0].share > result.bars[0].chance
    assert sum(bar.share for bar in result.bars) == pytest.approx(1)
    assert result.n == 60


def test_gap_counts_as_good_when_it_is_small():
    table = drawn(60)
    table["gap_last"] += 0.1 * table["depth"].astype(float)
    result = importance(table, DIMENSIONS, "gap_last")
    assert result.bars[0].dimension == "depth"
    assert result.bars[0].share > result.bars[0].chance


def test_noise_rarely_exceeds_chance():
    above_chance = [
        bar.share > bar.chance for seed in range(12) for bar in importance(drawn(40, seed), DIMENSIONS, "score").bars
    ]
    assert sum(above_chance) <= 6  # 36 bars at 5 % each: more than 6 would be a one in 200 case


def test_conditional_dimension_may_be_missing_in_some_trials():
    table = drawn(40)
    table.loc[::2, "lr"] = np.nan
    result = importance(table, DIMENSIONS, "score")
    assert {bar.dimension for bar in result.bars} == set(DIMENSIONS)


def test_fanova_finds_the_planted_dimension_on_its_logarithmic_scale():
    table = drawn(60)
    table["score"] += 0.1 * np.log10(table["lr"])
    result = importance(table, DIMENSIONS, "score", "fanova")
    assert (result.method, result.bars[0].dimension, result.n) == ("fanova", "lr", 60)
    assert result.bars[0].share > 0.7  # nearly all of the variance, whatever the scale
    assert all((bar.share > bar.chance) is (bar.dimension == "lr") for bar in result.bars)


def test_fanova_leaves_out_dimensions_that_some_trials_lack():
    table = drawn(40)
    table.loc[::2, "loss"] = np.nan
    result = importance(table, DIMENSIONS, "score", "fanova")
    assert result.left_out == ("loss",)
    assert {bar.dimension for bar in result.bars} == {"depth", "lr"}


def test_fanova_needs_more_trials():
    result = importance(drawn(29), DIMENSIONS, "score", "fanova")
    assert isinstance(result, Withheld)
    assert "at least 30 completed trials, there are 29" in result.reason


@pytest.mark.parametrize(
    ("table", "dimensions", "reason"),
    [
        (drawn(19), DIMENSIONS, "at least 20 completed trials, there are 19"),
        (drawn(30), {"lr": DIMENSIONS["lr"]}, "fewer than two"),
        (drawn(30).assign(score=0.5), DIMENSIONS, "same score"),
    ],
)
def test_invalid_importance_is_withheld_with_the_reason(table, dimensions, reason):
    result = importance(table, dimensions, "score")
    assert isinstance(result, Withheld)
    assert reason in result.reason
