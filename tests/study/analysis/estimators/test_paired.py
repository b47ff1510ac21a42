import numpy as np
import pytest

from study.analysis.estimators.paired import paired_difference


def correct(*runs):
    return np.concatenate([np.full(n, value) for n, value in runs]).astype(bool)


def test_disagreements_are_counted_and_tested():
    first, second = correct((50, 1), (10, 1), (2, 0), (18, 0)), correct((50, 1), (10, 0), (2, 1), (18, 0))
    result = paired_difference(first, second)
    assert (result.n_images, result.only_one, result.only_other) == (80, 10, 2)
    assert result.difference.value == pytest.approx(0.1)
    assert result.difference.low < 0.1 < result.difference.high
    assert result.p_value == pytest.approx(2 * 79 / 4096)  # 12 tosses of a coin, at most 2 heads: (1 + 12 + 66) / 2^12


def test_trainings_with_the_same_correct_images_do_not_differ():
    result = paired_difference(correct((5, 1), (3, 0)), correct((5, 1), (3, 0)))
    assert (result.p_value, result.difference[:3]) == (1.0, (0.0, 0.0, 0.0))


def test_noise_is_rarely_a_significant_difference():
    rng = np.random.default_rng(0)
    result = [paired_difference(*(rng.random((2, 83)) < 0.6)) for _ in range(400)]
    assert sum(first.p_value < 0.05 for first in result) <= 32  # 5 % and three standard deviations


@pytest.mark.parametrize("sizes", [(0, 0), (3, 4)])
def test_different_images_are_an_error(sizes):
    with pytest.raises(ValueError, match="same images"):
        paired_difference(*(np.ones(n, bool) for n in sizes))
