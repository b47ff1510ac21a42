import numpy as np
import pytest

from study.analysis.estimators.paired import paired_difference


def right(*runs):
    return np.concatenate([np.full(n, value) for n, value in runs]).astype(bool)


def test_disagreements_are_counted_and_tested():
    one, other = right((50, 1), (10, 1), (2, 0), (18, 0)), right((50, 1), (10, 0), (2, 1), (18, 0))
    told = paired_difference(one, other)
    assert (told.n_images, told.only_one, told.only_other) == (80, 10, 2)
    assert told.difference.value == pytest.approx(0.1)
    assert told.difference.low < 0.1 < told.difference.high
    assert told.p_value == pytest.approx(2 * 79 / 4096)  # 12 tosses of a coin, at most 2 heads: (1 + 12 + 66) / 2^12


def test_trainings_that_are_right_together_do_not_differ():
    told = paired_difference(right((5, 1), (3, 0)), right((5, 1), (3, 0)))
    assert (told.p_value, told.difference[:3]) == (1.0, (0.0, 0.0, 0.0))


def test_noise_alone_is_seldom_a_difference():
    rng = np.random.default_rng(0)
    told = [paired_difference(*(rng.random((2, 83)) < 0.6)) for _ in range(400)]
    assert sum(one.p_value < 0.05 for one in told) <= 32  # 5 % and three standard deviations


@pytest.mark.parametrize("sizes", [(0, 0), (3, 4)])
def test_other_images_are_refused(sizes):
    with pytest.raises(ValueError, match="same images"):
        paired_difference(*(np.ones(n, bool) for n in sizes))
