"""Candidates and the rules that choose among them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.soup.selection import (
    ALPHAS,
    choose_recipes,
    forward_subset,
    greedy_subset,
    members_of,
    recipe_at,
    subset_count,
)

N = 60


def scores_of(known, k=3):
    """Return scores of the subsets of trials 0, 1 and 2; unknown ones are 0."""
    row = np.zeros(subset_count(k))
    for members, score in known.items():
        row[sum(1 << int(member) for member in members) - 1] = score
    return row[None]


def test_subsets_are_numbered_by_their_members():
    members = [(0,), (1,), (0, 1), (2,), (0, 2), (1, 2), (0, 1, 2)]
    assert [members_of(index, range(3)) for index in range(subset_count(3))] == members
    assert [members_of(index, "abc") for index in (0, 5, 6)] == [("a",), ("b", "c"), ("a", "b", "c")]


@pytest.mark.parametrize(
    ("known", "members"),
    [
        # Trial 1 lowers the score, and is not tried again.
        ({"0": 0.7, "1": 0.6, "2": 0.5, "01": 0.6, "02": 0.7, "012": 1.0}, "02"),
        # The best trials come first, whatever their numbers.
        ({"0": 0.5, "1": 0.7, "2": 0.6, "12": 0.8, "012": 0.8}, "012"),
        # A trial that does not change the score is kept.
        ({"0": 0.7, "1": 0.7, "2": 0.1, "01": 0.7, "012": 0.6}, "01"),
    ],
)
def test_the_greedy_soup_keeps_trials_that_do_not_lower_the_score(known, members):
    (index,) = greedy_subset(scores_of(known), 3)
    assert members_of(int(index), "012") == tuple(members)


def test_forward_selection_returns_the_best_subset_on_its_path():
    known = {"0": 0.5, "1": 0.6, "2": 0.5, "12": 0.8, "01": 0.7, "02": 0.99, "012": 0.7}
    (index,) = forward_subset(scores_of(known), 3)
    assert members_of(int(index), "012") == ("1", "2")


@given(st.integers(1, 5), st.integers(0, 2**16))
def test_no_rule_ends_below_the_best_single_trial(k, seed):
    scores = np.random.default_rng(seed).random((8, subset_count(k)))
    best_single = scores[:, [(1 << trial) - 1 for trial in range(k)]].max(axis=1)
    for chosen in (greedy_subset(scores, k), forward_subset(scores, k)):
        assert (scores[np.arange(8), chosen] >= best_single - 1e-6).all()


def test_recipes_describe_how_each_choice_is_made(make_candidates):
    few, most = np.arange(N) < 20, np.arange(N) < 50
    rows = np.array([few, few, few, few, few, most, *[few] * len(ALPHAS)])  # only the ensemble of both is good
    recipes = {recipe.name: recipe for recipe in choose_recipes(make_candidates(rows))}
    assert (recipes["best trial"].kind, recipes["best trial"].trials) == ("weights", (10,))
    assert (recipes["WiSE-FT"].trials, recipes["WiSE-FT"].alpha) == ((10,), None)
    assert (recipes["selected ensemble"].kind, recipes["selected ensemble"].trials) == ("probabilities", (10, 11))
    assert recipe_at("WiSE-FT", 2 * 3 + 4, (10, 11)).alpha == ALPHAS[4]
