from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import stats

from study.analysis import Withheld
from study.analysis.somers_d import gap_associations, holm, tally_pairs

DIMENSIONS = {
    "depth": IntDistribution(0, 3),
    "lr": FloatDistribution(1e-4, 1e-1, log=True),
    "loss": CategoricalDistribution(("none", "balanced")),
}
pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=20)


@given(pairs)
def test_somers_d_agrees_with_scipy(points):
    x, y = np.array(points, dtype=float).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return
    tally = tally_pairs(x, y)
    assert tally.somers_d == pytest.approx(stats.somersd(x, y).statistic)


def test_variance_agrees_with_random_permutations():
    x, y = np.array([0.0, 0, 1, 2, 3]), np.array([0.0, 1, 1, 2, 2])
    tally = tally_pairs(x, y)
    rng = np.random.default_rng(0)
    sums = [tally_pairs(x, rng.permutation(y)).concordance.sum() / 2 for _ in range(20_000)]
    assert tally.variance == pytest.approx(np.var(sums), rel=0.03)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def grid(gap):
    rows = [(d, lr, loss) for d, lr, loss in product(range(4), (1e-4, 1e-3, 1e-2), ("none", "balanced"))]
    table = pd.DataFrame(rows * 2, columns=["depth", "lr", "loss"])
    rng = np.random.default_rng(0)
    return table.assign(gap_last=[gap(*row) for row in rows * 2] + rng.normal(0, 0.001, len(table)))


def test_grid_with_few_groups_is_pooled():
    depth, lr = gap_associations(grid(lambda d, lr, _: d + 10 * lr), DIMENSIONS, adaptive=False)
    assert (depth.dimension, depth.kind, depth.groups) == ("depth", "plain", 1)  # six groups share rate and loss
    assert (lr.dimension, lr.kind, lr.groups) == ("lr", "within depths", 4)
    assert depth.tau.value > 0.9


def test_granulated_by_hand():
    rows = [(d, lr, "none") for d in (0, 1, 2) for lr in np.geomspace(1e-4, 1e-1, 12)]
    table = pd.DataFrame(rows, columns=["depth", "lr", "loss"])
    # In nine of twelve groups of one rate the gap rises with depth, in three it falls: (9 - 3) / 12.
    sign = np.where(np.tile(np.arange(12), 3) < 9, 1.0, -1.0)
    associations = gap_associations(table.assign(gap_last=sign * table["depth"]), DIMENSIONS, adaptive=False)
    depth = next(association for association in associations if association.dimension == "depth")
    assert (depth.kind, depth.groups, depth.tau.n) == ("granulated", 12, 36)
    assert depth.tau.value == pytest.approx(0.5)


def drawn(n=60, seed=0):
    rng = np.random.default_rng(seed)
    depth = rng.integers(0, 4, n)
    loss = rng.choice(["none", "balanced"], n)
    return pd.DataFrame({"depth": depth, "lr": 10 ** rng.uniform(-4, -1, n), "loss": loss})


def test_association_within_depths_is_not_confounded_by_depth():
    table = drawn()
    table["lr"] *= 10.0 ** table["depth"]  # deeper trials have higher rates, and wider gaps for their depth alone
    noise = np.random.default_rng(1).normal(0, 0.01, len(table))
    associations = gap_associations(table.assign(gap_last=0.2 * table["depth"] + noise), DIMENSIONS, adaptive=False)
    by_dimension = {association.dimension: association for association in associations}
    assert by_dimension["depth"].tau.value > 0.9
    assert by_dimension["depth"].p < 1e-6
    assert by_dimension["lr"].kind == "within depths"
    assert by_dimension["lr"].tau.low < 0 < by_dimension["lr"].tau.high
    assert "loss" not in by_dimension  # no order


def test_adaptive_sampler_has_no_p_value():
    table = drawn().assign(gap_last=drawn()["lr"])
    assert all(association.p is None for association in gap_associations(table, DIMENSIONS, adaptive=True))


def test_noise_rarely_shows_an_association():
    rng = np.random.default_rng(2)
    studies = [drawn(40, seed).assign(gap_last=rng.normal(size=40)) for seed in range(60)]
    false_alarms = sum(
        min(a.p for a in gap_associations(study, DIMENSIONS, adaptive=False)) <= 0.05 for study in studies
    )
    assert false_alarms <= 8  # 3 expected of 60; more than 8 would be a one in 200 case


def test_few_trials_and_no_order_are_withheld():
    few = gap_associations(drawn(19).assign(gap_last=0.1), DIMENSIONS, adaptive=False)
    assert isinstance(few, Withheld)
    assert "there are 19" in few.reason
    unordered = gap_associations(drawn().assign(gap_last=0.1), {"loss": DIMENSIONS["loss"]}, adaptive=False)
    assert isinstance(unordered, Withheld)
