import numpy as np
import pytest

from study.analysis import Withheld
from study.analysis.estimators.crossfit import cross_fitted


def drawn(accuracy, images=83, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(len(accuracy), images)) < np.array(accuracy)[:, None]


def test_equal_steps_look_better_than_they_are():
    trials = {trial: drawn([0.6] * 10, seed=trial) for trial in range(20)}
    found = cross_fitted(trials)
    assert np.mean([one.apparent.value for one in found]) > 0.05  # nothing but luck
    honest = np.array([one.honest.value for one in found])
    assert abs(honest.mean()) < 3 * honest.std(ddof=1) / 20**0.5
    assert all(one.optimism == pytest.approx(one.apparent.value - one.honest.value) for one in found)


def test_planted_decay_is_seen_on_other_images_too():
    (found,) = cross_fitted({7: drawn([0.4, 0.5, 0.8, 0.6, 0.5, 0.4], images=300)})
    assert (found.trial, found.n_images) == (7, 300)
    assert found.honest.low > 0.2
    assert found.honest.low < found.honest.value < found.honest.high


def test_best_step_that_is_the_last_gains_nothing():
    (found,) = cross_fitted({0: drawn([0.1, 0.2, 0.95])})
    assert found.apparent.value == 0
    assert found.honest.value == 0


def test_same_figures_every_time():
    trials = {0: drawn([0.5, 0.6, 0.5])}
    assert cross_fitted(trials) == cross_fitted(trials)


def test_too_few_images_or_none_are_withheld():
    assert isinstance(cross_fitted({}), Withheld)
    found = cross_fitted({0: drawn([0.5, 0.5], images=19)})
    assert isinstance(found, Withheld)
    assert "there are 19" in found.reason
