"""The sweep's own trials on the opened test images."""

import numpy as np
import pytest

from study.analysis import Withheld
from study.analysis.overtuning import Overtuning
from study.analysis.sweep_on_test import sweep_on_test


def tried(rng, skills, n):
    return rng.random((len(skills), n)) < np.asarray(skills)[:, None]


def numbered(n):
    return np.arange(n), np.arange(n) % 4


def test_the_winner_is_the_best_on_validation_and_its_fall_is_the_curse():
    validation = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)
    test = np.array([[1, 1], [1, 0], [0, 0]], dtype=bool)
    told = sweep_on_test(*numbered(3), validation, test)
    assert (told.winner, told.n_images) == (1, 2)
    assert told.curse.difference.value == pytest.approx(0.75 - 0.5)
    assert isinstance(told.agreement, Withheld)
    assert [point.test for point in told.points] == [1.0, 0.5, 0.0]


def test_equally_good_trials_fall_and_do_not_rank_alike():
    falls, taus = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        told = sweep_on_test(*numbered(40), tried(rng, [0.6] * 40, 83), tried(rng, [0.6] * 40, 53))
        falls.append(told.curse.difference.value)
        taus.append(told.agreement.value)
    assert np.mean(falls) > 0.05
    assert abs(np.mean(taus)) < 0.05


def test_planted_skill_ranks_alike():
    rng = np.random.default_rng(0)
    skills = np.linspace(0.2, 0.9, 40)
    told = sweep_on_test(*numbered(40), tried(rng, skills, 83), tried(rng, skills, 83))
    assert told.agreement.low > 0.4
    assert isinstance(told.overtuning, Overtuning)
    assert told.overtuning.overtuning.low == 0


def test_without_trials_there_is_nothing():
    empty = np.zeros((0, 5), dtype=bool)
    assert isinstance(sweep_on_test(*numbered(0), empty, empty), Withheld)
