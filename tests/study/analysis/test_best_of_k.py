from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.analysis import Withheld
from study.analysis.best_of_k import equal_depths, expected_best, fair_k, median_best
from study.analysis.design import Design, depth_design

ISOLATED = "isolate: depth\nsearch: {depth: {type: int, low: 0, high: 3}}"
OPEN = "search: {depth: {type: int, low: 0, high: 3}}"
RANDOM = Design(pruned=False, learning=False, note="")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(1, 8))
def test_expected_best_is_the_mean_over_all_choices(scores, k):
    k = min(k, len(scores))
    maxima = [max(chosen) for chosen in combinations(scores, k)]
    assert float(expected_best(np.sort(scores), k)) == pytest.approx(np.mean(maxima))


def test_expected_best_of_many_does_not_overflow():
    ordered = np.linspace(0, 1, 3000)
    assert float(expected_best(ordered, 1500)) == pytest.approx(1500 / 1501 * 3001 / 2999 - 1 / 2999, abs=1e-6)


def test_fair_k_is_the_largest_with_a_two_ended_interval():
    for n in (7, 12, 13, 20, 41, 100):
        k = fair_k(n)
        assert median_best(np.arange(n, dtype=float), k, level=0.975).high is not None
        assert median_best(np.arange(n, dtype=float), k + 1, level=0.975).high is None
    assert (fair_k(6), fair_k(7), fair_k(20), fair_k(100)) == (0, 1, 3, 15)


def test_median_of_one_trial_is_the_median_with_its_classic_interval():
    result = median_best(np.arange(1.0, 11.0), 1)  # n = 10: from the second to the ninth value (97.9 %)
    assert result == (5, 2, 9, 10, None)


def test_median_best_covers_the_truth():
    rng = np.random.default_rng(0)
    n, k = 40, 6
    truth = 0.5 ** (1 / k)  # the median of the largest of k uniform values
    result = [median_best(np.sort(rng.uniform(size=n)), k) for _ in range(500)]
    covered = np.mean([e.low is not None and e.low <= truth and (e.high is None or truth <= e.high) for e in result])
    assert covered > 0.93  # nominal: 0.95; three standard errors of 500 draws are 0.03


def trials(scores, pruned=()):
    rows = [(depth, score) for depth, values in scores.items() for score in values]
    table = pd.DataFrame(rows, columns=["depth", "score"])
    states = ["PRUNED" if number in pruned else "COMPLETE" for number in range(len(table))]
    return table.assign(state=states).astype({"depth": "Int64"})


def drawn(seed, lift=0.0, n=20):
    rng = np.random.default_rng(seed)
    return trials({depth: rng.normal(0.5 + lift * depth, 0.02, n) for depth in range(4)})


def test_planted_effect_of_depth_is_found_with_its_direction():
    result = equal_depths(drawn(0, lift=0.02), RANDOM)
    assert (result.k, result.n, result.p) == (3, 80, 1 / 1000)
    assert [best.depth for best in result.depths] == [0, 1, 2, 3]
    deepest = result.against_shallowest[-1]
    assert (deepest.depth, deepest.other) == (3, 0)
    assert deepest.difference.low > 0
    assert deepest.difference.value == pytest.approx(0.06, abs=0.02)
    assert deepest.p <= 0.002
    assert {contrast.other for contrast in result.against_best} == {3}


def test_noise_is_no_effect_of_depth():
    false_alarms = sum(equal_depths(drawn(seed), RANDOM).p <= 0.05 for seed in range(40))
    assert false_alarms <= 6  # 2 expected; more than 6 would be a one in 300 case


def test_p_value_of_the_widest_pair_is_that_of_all_depths():
    result = equal_depths(drawn(5, lift=0.003), RANDOM)
    assert min(contrast.p for contrast in result.against_best) == result.p


def test_equal_scores_at_all_depths_have_p_value_one():
    scores = {depth: [0.5] * 8 for depth in range(3)}
    result = equal_depths(trials(scores), RANDOM)
    assert result.p == 1
    assert all(contrast.difference[:3] == (0, 0, 0) for contrast in result.against_best)


def test_pruned_trials_count_and_failed_ones_do_not():
    table = drawn(1).assign(state=["PRUNED", "COMPLETE"] * 40)
    assert equal_depths(table, RANDOM).n == 80
    table.loc[:9, "state"] = "FAIL"
    assert equal_depths(table, RANDOM).n == 70


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({0: [0.5] * 7, 2: [0.5] * 6}, "at least 7 trials, and depth 2 has 6"),
        ({1: [0.5] * 30}, "there is 1"),
        ({}, "no trial has ended"),
    ],
)
def test_equal_depths_are_withheld_with_the_reason(scores, reason):
    result = equal_depths(trials(scores), RANDOM)
    assert isinstance(result, Withheld)
    assert reason in result.reason


def test_adaptive_sampler_is_withheld_unless_depths_are_isolated():
    withheld = depth_design(OPEN, ["tpe"], 0)
    assert isinstance(withheld, Withheld)
    assert equal_depths(drawn(0), withheld) is withheld
    assert "depth_isolation.yaml" in withheld.reason
    isolated = depth_design(ISOLATED, ["tpe"], 0)
    assert (isolated.learning, "treat them as independent" in isolated.note) == (True, True)
    assert isinstance(depth_design("isolate: dropout\n" + OPEN, ["tpe"], 0), Withheld)


@pytest.mark.parametrize("sampler", ["random", "qmc", "grid"])
def test_non_adaptive_sampler_allows_comparing_depths(sampler):
    assert depth_design(OPEN, [sampler], 0) == RANDOM
    assert "12 pruned trials" in depth_design(OPEN, [sampler], 12).note
