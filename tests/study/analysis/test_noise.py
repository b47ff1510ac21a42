import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from study.analysis.noise import detectable_difference, discordance, noise
from study.report.chapters.noise import noise_text


@given(st.integers(20, 5000), st.floats(0.05, 0.5))
def test_detectable_difference_solves_connors_equation(n, q):
    found = detectable_difference(n, q)
    assert 0 < found <= q
    if found < q:
        reached = 1.959964 * q**0.5 + 0.841621 * (q - found**2) ** 0.5
        assert n**0.5 * found == pytest.approx(reached, rel=1e-4)


@given(st.integers(20, 2000), st.floats(0.1, 0.5))
def test_more_images_show_smaller_differences(n, q):
    assert detectable_difference(4 * n, q) < detectable_difference(n, q)


def test_detectable_difference_is_found_four_times_out_of_five():
    n, q = 400, 0.3
    lead = detectable_difference(n, q)
    rng = np.random.default_rng(0)
    won, lost, _ = rng.multinomial(n, [(q + lead) / 2, (q - lead) / 2, 1 - q], 4000).T
    power = np.mean(2 * stats.norm.sf(np.abs(won - lost) / np.sqrt(won + lost)) < 0.05)
    assert power == pytest.approx(0.8, abs=0.03)


def test_discordance_by_hand():
    correct = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [1, 1, 0, 1]], dtype=bool)
    assert discordance(correct) == 0.25  # 1, 4 and 1 of four images


def complete(*accuracies):
    return pd.DataFrame({"number": range(len(accuracies)), "score": accuracies, "val_accuracy_best": accuracies})


def test_noise_counts_the_trials_inside_the_interval_of_the_best():
    found = noise(complete(0.30, 0.55, 0.61, 0.60), 100)
    assert (found.best_trial, found.best.value, found.within, found.n_trials) == (2, 0.61, 3, 4)
    assert found.discordance == pytest.approx(2 * 0.61 * 0.39)
    assert not found.discordance_measured


def test_noise_uses_stored_predictions_where_there_are_some():
    correct = np.zeros((2, 100), dtype=bool)
    correct[1, :10] = True
    found = noise(complete(0.6, 0.5), 100, correct)
    assert found.discordance_measured
    assert found.discordance == 0.1
    assert found.detectable < noise(complete(0.6, 0.5), 100).detectable


def test_trials_that_hardly_disagree_promise_no_more_than_ten_images_can_keep():
    correct = np.zeros((2, 83), dtype=bool)
    correct[1, :2] = True
    found = noise(complete(0.7, 0.68), 83, correct)
    assert found.discordance == pytest.approx(2 / 83)
    assert found.detectable == pytest.approx(detectable_difference(83, 10 / 83))
    assert found.detectable > 0.08
    assert "counted as 10 images" in noise_text(found)


def test_trials_that_disagree_enough_are_counted_as_they_are():
    correct = np.zeros((2, 83), dtype=bool)
    correct[1, :16] = True
    found = noise(complete(0.7, 0.68), 83, correct)
    assert found.detectable == pytest.approx(detectable_difference(83, 16 / 83))
    assert "counted as 10" not in noise_text(found)
