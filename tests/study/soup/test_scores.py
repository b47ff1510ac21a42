"""Cross-fitted figures: real gains are found, and lucky choices gain nothing."""

import numpy as np

from study.analysis import Withheld
from study.soup.scores import cross_fitted_gains, cross_fitted_temperature
from study.soup.selection import ALPHAS, choose_columns

N = 60


def test_a_soup_that_is_better_everywhere_gains_on_other_images_too(make_candidates):
    rng = np.random.default_rng(0)
    first, second = (rng.random(N) < 0.5 for _ in range(2))
    ensemble = rng.random(N) < 0.5
    rows = [first, second, first | second, first, second, ensemble, *[first] * len(ALPHAS)]
    gains = cross_fitted_gains(make_candidates(np.array(rows)))
    assert gains["uniform soup"].low > 0.05
    assert gains["greedy soup"].value == gains["uniform soup"].value
    assert gains["WiSE-FT"].value == 0


def test_a_lucky_choice_gains_nothing(make_candidates):
    """All candidates are random: the best of 11 interpolations looks better than the trial, but is not."""
    rng = np.random.default_rng(1)
    rows = rng.random((2 * 3 + len(ALPHAS), 80)) < 0.5
    rows[3:5] = rows[0:2]
    candidates = make_candidates(rows)
    (apparent,) = candidates.scores(np.ones((1, 80), np.float32))
    columns = choose_columns(apparent[None], 2)
    assert apparent[columns["WiSE-FT"][0]] - apparent[columns["first trial"][0]] > 0.05
    gain = cross_fitted_gains(candidates)["WiSE-FT"]
    assert gain.low < 0 < gain.high


def test_too_few_images_are_not_halved(make_candidates):
    correct = np.ones((6 + len(ALPHAS), 30), dtype=bool)
    assert isinstance(cross_fitted_gains(make_candidates(correct)), Withheld)
    assert isinstance(cross_fitted_temperature(np.zeros(30, int), np.full((30, 2), 0.5)), Withheld)


def test_a_temperature_from_the_other_half_corrects_overconfident_probabilities():
    rng = np.random.default_rng(2)
    grades = rng.integers(0, 2, 200)
    overconfident = np.full((200, 2), 0.001)
    overconfident[np.arange(200), np.where(rng.random(200) < 0.7, grades, 1 - grades)] = 0.999
    loss, ece = cross_fitted_temperature(grades, overconfident)
    assert loss.value < 0.75  # 2.07 without a temperature, 0.61 at best
    assert ece < 0.1
