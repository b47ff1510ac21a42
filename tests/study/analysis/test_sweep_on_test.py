"""The sweep's own trials on the test images."""

import numpy as np
import pytest

from study.analysis import Withheld
from study.analysis.overtuning import Overtuning
from study.analysis.sweep_on_test import sweep_on_test


def draw_correct(rng, accuracies, n):
    return rng.random((len(accuracies), n)) < np.asarray(accuracies)[:, None]


def numbers_and_depths(n):
    return np.arange(n), np.arange(n) % 4


def test_winner_is_the_best_on_validation_and_its_difference_is_the_curse():
    validation = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)
    test = np.array([[1, 1], [1, 0], [0, 0]], dtype=bool)
    result = sweep_on_test(*numbers_and_depths(3), validation, test)
    assert (result.winner, result.n_images) == (1, 2)
    assert result.curse.difference.value == pytest.approx(0.75 - 0.5)
    assert isinstance(result.agreement, Withheld)
    assert [point.test for point in result.points] == [1.0, 0.5, 0.0]


def test_equally_good_trials_show_a_curse_and_no_rank_agreement():
    differences, taus = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        result = sweep_on_test(
            *numbers_and_depths(40), draw_correct(rng, [0.6] * 40, 83), draw_correct(rng, [0.6] * 40, 53)
        )
        differences.append(result.curse.difference.value)
        taus.append(result.agreement.value)
    assert np.mean(differences) > 0.05
    assert abs(np.mean(taus)) < 0.05


def test_trials_of_different_accuracy_show_rank_agreement():
    rng = np.random.default_rng(0)
    accuracies = np.linspace(0.2, 0.9, 40)
    result = sweep_on_test(
        *numbers_and_depths(40), draw_correct(rng, accuracies, 83), draw_correct(rng, accuracies, 83)
    )
    assert result.agreement.low > 0.4
    assert isinstance(result.overtuning, Overtuning)
    assert result.overtuning.overtuning.low == 0


def test_trials_may_have_unequal_numbers_of_validation_images():
    """Splits that keep groups whole differ in size from block to block."""
    validation = [np.array([1, 0, 1, 1], dtype=bool), np.array([1, 0, 0], dtype=bool)]
    result = sweep_on_test(*numbers_and_depths(2), validation, np.array([[1, 1], [1, 0]], dtype=bool))
    assert [point.validation for point in result.points] == pytest.approx([3 / 4, 1 / 3])
    assert result.winner == 0


def test_sweep_without_trials_is_withheld():
    empty = np.zeros((0, 5), dtype=bool)
    assert isinstance(sweep_on_test(*numbers_and_depths(0), empty, empty), Withheld)
