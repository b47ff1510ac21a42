import numpy as np
import pytest

from study.analysis import Withheld
from study.analysis.estimators.crossfit import cross_fitted


def draw(accuracy, images=83, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(len(accuracy), images)) < np.array(accuracy)[:, None]


def test_best_of_equal_steps_is_optimistic():
    trials = {trial: draw([0.6] * 10, seed=trial) for trial in range(20)}
    results = cross_fitted(trials)
    assert np.mean([result.apparent.value for result in results]) > 0.05  # nothing but luck
    honest = np.array([result.honest.value for result in results])
    assert abs(honest.mean()) < 3 * honest.std(ddof=1) / 20**0.5
    assert all(result.optimism == pytest.approx(result.apparent.value - result.honest.value) for result in results)


def test_planted_decay_is_found_on_other_images():
    (results,) = cross_fitted({7: draw([0.4, 0.5, 0.8, 0.6, 0.5, 0.4], images=300)})
    assert (results.trial, results.n_images) == (7, 300)
    assert results.honest.low > 0.2
    assert results.honest.low < results.honest.value < results.honest.high


def test_best_step_at_the_end_has_no_gain():
    (results,) = cross_fitted({0: draw([0.1, 0.2, 0.95])})
    assert results.apparent.value == 0
    assert results.honest.value == 0


def test_cross_fitting_is_reproducible():
    trials = {0: draw([0.5, 0.6, 0.5])}
    assert cross_fitted(trials) == cross_fitted(trials)


def test_too_few_images_or_none_are_withheld():
    assert isinstance(cross_fitted({}), Withheld)
    results = cross_fitted({0: draw([0.5, 0.5], images=19)})
    assert isinstance(results, Withheld)
    assert "there are 19" in results.reason
