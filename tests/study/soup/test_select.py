"""Which mixture is taken, and what taking it is worth on other images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.analysis import Withheld
from study.soup import select as choice
from study.soup.candidates import ALPHAS, EnsembleCandidates, recipe_at, recipes
from study.soup.crossfit import cross_fitted_gains, cross_fitted_temperature

N = 60


def scores_of(told, k=3):
    """Scores of the mixtures of trials 0, 1 and 2; those that are not told have 0."""
    row = np.zeros(2**k - 1)
    for members, score in told.items():
        row[sum(1 << int(one) for one in members) - 1] = score
    return row[None]


def test_mixtures_are_numbered_by_their_members():
    assert choice.subsets(3) == [(0,), (1,), (0, 1), (2,), (0, 2), (1, 2), (0, 1, 2)]
    assert [choice.members_of(index, "abc") for index in (0, 5, 6)] == [("a",), ("b", "c"), ("a", "b", "c")]


@pytest.mark.parametrize(
    ("told", "members"),
    [
        (
            {"0": 0.7, "1": 0.6, "2": 0.5, "01": 0.6, "02": 0.7, "012": 1.0},
            "02",
        ),  # 1 lowers it, and is not tried again
        ({"0": 0.5, "1": 0.7, "2": 0.6, "12": 0.8, "012": 0.8}, "012"),  # best first, whatever their numbers
        ({"0": 0.7, "1": 0.7, "2": 0.1, "01": 0.7, "012": 0.6}, "01"),  # what does no harm stays
    ],
)
def test_the_greedy_soup_keeps_what_does_not_lower_the_score(told, members):
    (found,) = choice.greedy(scores_of(told), 3)
    assert choice.members_of(int(found), "012") == tuple(members)


def test_forward_selection_takes_the_best_mixture_on_its_way():
    told = {"0": 0.5, "1": 0.6, "2": 0.5, "12": 0.8, "01": 0.7, "02": 0.99, "012": 0.7}
    (found,) = choice.forward(scores_of(told), 3)
    assert choice.members_of(int(found), "012") == ("1", "2")


@given(st.integers(1, 5), st.integers(0, 2**16))
def test_neither_way_ends_below_the_best_single_trial(k, seed):
    scores = np.random.default_rng(seed).random((8, 2**k - 1))
    alone = scores[:, choice.single(np.arange(k))].max(axis=1)
    for found in (choice.greedy(scores, k), choice.forward(scores, k)):
        assert (scores[np.arange(8), found] >= alone - 1e-6).all()


def candidates(right, k=2, n=N):
    """Candidates of two grades that are graded rightly where ``right`` says so, shape (2 * subsets + alphas, n)."""
    grades = np.arange(n) % 2
    told = np.where(right, grades, 1 - grades)
    said = np.eye(2)[told] * 0.8 + 0.1
    parts = np.split(said, [2**k - 1, 2 * (2**k - 1)])
    return EnsembleCandidates(tuple(range(10, 10 + k)), *parts, grades, "accuracy")


def table(trials, soup, ensemble, between=None):
    """Rows for two trials, their soup, the same trials and their ensemble, and the interpolations of the first."""
    return np.array([*trials, soup, *trials, ensemble, trials[0], *[between or trials[0]] * (len(ALPHAS) - 1)])


def test_recipes_say_how_each_choice_is_made():
    few, most = np.arange(N) < 20, np.arange(N) < 50
    made = {one.name: one for one in recipes(candidates(table([few, few], few, most)))}
    assert (made["best trial"].kind, made["best trial"].trials) == ("weights", (10,))
    assert (made["WiSE-FT"].trials, made["WiSE-FT"].alpha) == ((10,), None)
    assert (made["selected ensemble"].kind, made["selected ensemble"].trials) == ("probabilities", (10, 11))
    assert recipe_at("WiSE-FT", 2 * 3 + 4, (10, 11)).alpha == ALPHAS[4]


def test_a_mixture_that_is_better_everywhere_gains_on_other_images_too():
    rng = np.random.default_rng(0)
    trials = [rng.random(N) < 0.5 for _ in range(2)]
    gains = cross_fitted_gains(candidates(table(trials, trials[0] | trials[1], rng.random(N) < 0.5)))
    assert gains["uniform soup"].low > 0.05
    assert gains["greedy soup"].value == gains["uniform soup"].value
    assert gains["WiSE-FT"].value == 0


def test_what_is_chosen_by_luck_gains_nothing():
    """All candidates are coins: the best interpolation of 11 looks better, and is not."""
    rng = np.random.default_rng(1)
    coins = rng.random((2 * 3 + len(ALPHAS), 80)) < 0.5
    coins[3:5] = coins[0:2]
    found = candidates(coins, n=80)
    apparent = found.scores(np.ones((1, 80), np.float32))
    assert apparent.at(apparent.interpolated())[0] - apparent.at(apparent.first_trial())[0] > 0.05
    gain = cross_fitted_gains(found)["WiSE-FT"]
    assert gain.low < 0 < gain.high


def test_few_images_are_not_halved():
    right = np.ones((6 + len(ALPHAS), 30), dtype=bool)
    assert isinstance(cross_fitted_gains(candidates(right, n=30)), Withheld)
    assert isinstance(cross_fitted_temperature(np.zeros(30, int), np.full((30, 2), 0.5)), Withheld)


def test_a_temperature_of_the_other_half_mends_probabilities_that_are_too_sure():
    rng = np.random.default_rng(2)
    grades = rng.integers(0, 2, 200)
    sure = np.full((200, 2), 0.001)
    sure[np.arange(200), np.where(rng.random(200) < 0.7, grades, 1 - grades)] = 0.999
    loss, ece = cross_fitted_temperature(grades, sure)
    assert loss.value < 0.75  # 2.07 as they are, 0.61 at best
    assert ece < 0.1
