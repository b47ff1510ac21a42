import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from study.analysis import proportion
from study.analysis.estimators.intervals import bootstrap_mean, bootstrap_median, mean_estimate

shares = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
samples = st.lists(st.floats(-1, 1), min_size=3, max_size=40)


@given(shares)
def test_proportion_is_wilsons_interval(share):
    successes, n = share
    z, observed = stats.norm.ppf(0.975), successes / n
    middle = (observed + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z * (observed * (1 - observed) / n + z**2 / (4 * n**2)) ** 0.5 / (1 + z**2 / n)
    result = proportion(successes, n)
    assert (result.low, result.high) == pytest.approx((middle - reach, middle + reach), abs=1e-9)
    assert 0 <= result.low <= result.value <= result.high <= 1


def test_proportion_of_a_published_example():
    result = proportion(15, 148)  # Newcombe 1998, table I: 81/263, 15/148, 0/20, 1/29 with method 3
    assert (round(result.low, 4), round(result.high, 4)) == (0.0624, 0.1605)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_proportion_of_impossible_counts_is_an_error(successes, n):
    with pytest.raises(ValueError, match="needs 0 <= successes <= n"):
        proportion(successes, n)


@given(samples)
def test_mean_is_students_interval(values):
    result = mean_estimate(values)
    assert result.n == len(values)
    if result.low is None or result.high is None:
        assert not result.sd
        return
    reach = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    assert (result.low, result.high) == pytest.approx((np.mean(values) - reach, np.mean(values) + reach), abs=1e-9)


def test_mean_of_one_or_two_values_has_no_interval():
    assert mean_estimate([0.3]) == (0.3, None, None, 1, None)
    assert mean_estimate([0.3, 0.5])[:4] == (0.4, None, None, 2)


@pytest.mark.parametrize("bootstrap", [bootstrap_mean, bootstrap_median])
def test_bootstrap_is_reproducible_and_contains_its_value(bootstrap):
    values = np.random.default_rng(1).normal(0.4, 0.1, 30)
    result = bootstrap(values)
    assert result == bootstrap(values)
    assert result.low < result.value < result.high


@pytest.mark.parametrize("bootstrap", [bootstrap_mean, bootstrap_median])
def test_bootstrap_of_four_values_has_no_interval(bootstrap):
    result = bootstrap([1, 2, 3, 4])
    assert (result.value, result.low, result.high) == (2.5, None, None)


def test_bootstrap_of_the_mean_is_close_to_students_interval():
    values = np.random.default_rng(2).normal(0.0, 1.0, 200)
    resampled, student = bootstrap_mean(values), mean_estimate(values)
    assert (resampled.low, resampled.high) == pytest.approx((student.low, student.high), abs=0.02)


def test_bootstrap_covers_at_its_level():
    rng = np.random.default_rng(3)
    result = [bootstrap_mean(rng.normal(0.05, 0.02, 40), seed) for seed in range(200)]
    covered = np.mean([estimate.low <= 0.05 <= estimate.high for estimate in result])
    assert 0.89 <= covered <= 0.99  # 95 % within three standard errors of 200 draws, less the bootstrap's known bias
