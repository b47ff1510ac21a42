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
    result = detectable_difference(n, q)
    assert 0 < result <= q
    if result < q:
        reached = 1.959964 * q**0.5 + 0.841621 * (q - result**2) ** 0.5
        assert n**0.5 * result == pytest.approx(reached, rel=1e-4)


@given(st.integers(20, 2000), st.floats(0.1, 0.5))
def test_more_images_show_smaller_differences(n, q):
    assert detectable_difference(4 * n, q) < detectable_difference(n, q)


def test_detectable_difference_is_found_four_times_out_of_five():
    n, q = 400, 0.3
    lead = detectable_difference(n, q)
    rng = np.random.default_rng(0)
    first_only, second_only, _ = rng.multinomial(n, [(q + lead) / 2, (q - lead) / 2, 1 - q], 4000).T
    power = np.mean(2 * stats.norm.sf(np.abs(first_only - second_only) / np.sqrt(first_only + second_only)) < 0.05)
    assert power == pytest.approx(0.8, abs=0.03)


def test_discordance_by_hand():
    correct = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [1, 1, 0, 1]], dtype=bool)
    assert discordance(correct) == 0.25  # 1, 4 and 1 of four images


def complete(*accuracies):
    return pd.DataFrame({"number": range(len(accuracies)), "score": accuracies, "val_accuracy_best": accuracies})


def test_noise_counts_the_trials_inside_the_interval_of_the_best():
    result = noise(complete(0.30, 0.55, 0.61, 0.60), 100)
    assert (result.best_trial, result.best.value, result.within, result.n_trials) == (2, 0.61, 3, 4)
    assert result.discordance == pytest.approx(2 * 0.61 * 0.39)
    assert not result.discordance_measured


def test_noise_uses_stored_predictions_where_there_are_some():
    correct = np.zeros((2, 100), dtype=bool)
    correct[1, :10] = True
    result = noise(complete(0.6, 0.5), 100, correct)
    assert result.discordance_measured
    assert result.discordance == 0.1
    assert result.detectable < noise(complete(0.6, 0.5), 100).detectable


def test_trials_that_hardly_disagree_count_as_if_on_ten_images():
    correct = np.zeros((2, 83), dtype=bool)
    correct[1, :2] = True
    result = noise(complete(0.7, 0.68), 83, correct)
    assert result.discordance == pytest.approx(2 / 83)
    assert result.detectable == pytest.approx(detectable_difference(83, 10 / 83))
    assert result.detectable > 0.08
    assert "counted as 10 images" in noise_text(result)


def test_trials_that_disagree_enough_are_counted_as_they_are():
    correct = np.zeros((2, 83), dtype=bool)
    correct[1, :16] = True
    result = noise(complete(0.7, 0.68), 83, correct)
    assert result.detectable == pytest.approx(detectable_difference(83, 16 / 83))
    assert "counted as 10" not in noise_text(result)
