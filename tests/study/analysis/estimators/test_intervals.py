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
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    found = proportion(successes, n)
    assert found.low == pytest.approx(min(expected.low, successes / n), abs=1e-9)
    assert found.high == pytest.approx(max(expected.high, successes / n), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_proportion_of_a_published_example():
    found = proportion(15, 148)  # Newcombe 1998, table I: 81/263, 15/148, 0/20, 1/29 with method 3
    assert (round(found.low, 4), round(found.high, 4)) == (0.0624, 0.1605)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_proportion_of_nothing_is_an_error(successes, n):
    with pytest.raises(ValueError, match="needs 0 <= successes <= n"):
        proportion(successes, n)


@given(samples)
def test_mean_is_students_interval(values):
    found = mean_estimate(values)
    assert found.n == len(values)
    if found.low is None or found.high is None:
        assert not found.sd
        return
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_mean_of_one_or_two_values_has_no_interval():
    assert mean_estimate([0.3]) == (0.3, None, None, 1, None)
    assert mean_estimate([0.3, 0.5])[:4] == (0.4, None, None, 2)


@pytest.mark.parametrize("bootstrap", [bootstrap_mean, bootstrap_median])
def test_bootstrap_is_the_same_every_time_and_holds_its_value(bootstrap):
    values = np.random.default_rng(1).normal(0.4, 0.1, 30)
    found = bootstrap(values)
    assert found == bootstrap(values)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("bootstrap", [bootstrap_mean, bootstrap_median])
def test_bootstrap_of_four_values_has_no_interval(bootstrap):
    found = bootstrap([1, 2, 3, 4])
    assert (found.value, found.low, found.high) == (2.5, None, None)


def test_bootstrap_of_the_mean_is_close_to_students_interval():
    values = np.random.default_rng(2).normal(0.0, 1.0, 200)
    resampled, student = bootstrap_mean(values), mean_estimate(values)
    assert (resampled.low, resampled.high) == pytest.approx((student.low, student.high), abs=0.02)


def test_bootstrap_covers_at_its_level():
    rng = np.random.default_rng(3)
    found = [bootstrap_mean(rng.normal(0.05, 0.02, 40), seed) for seed in range(200)]
    covered = np.mean([estimate.low <= 0.05 <= estimate.high for estimate in found])
    assert 0.89 <= covered <= 0.99  # 95 % within three standard errors of 200 draws, less the bootstrap's known bias
