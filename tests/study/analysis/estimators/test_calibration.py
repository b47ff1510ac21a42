import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn.metrics import log_loss

from study.analysis import Withheld
from study.analysis.estimators.calibration import calibration, temperature, temperature_scaled

seeds = st.integers(0, 2**32 - 1)


def draw(seed, n=83, divisor=1.0, spread=2.0):
    """Grades drawn from probabilities, which are returned at another temperature than the true one."""
    rng = np.random.default_rng(seed)
    true = special.softmax(rng.normal(0, spread, (n, 5)), axis=1)
    grades = (true.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, 4)
    return grades, temperature_scaled(true, 1 / divisor)


def two_bins():
    """Ten images at 60 % of which 5 are correct, ten at 80 % of which 9 are."""
    confidence = np.repeat([0.6, 0.8], 10)
    grades = np.array([0] * 5 + [1] * 5 + [0] * 9 + [1])
    return grades, np.stack([confidence, 1 - confidence], axis=1)


def test_errors_by_hand():
    result = calibration(*two_bins())
    assert result.ece == pytest.approx(0.1)
    assert result.overconfidence.value == pytest.approx(0.7 - 0.7)
    assert [(point.confidence, point.accuracy.value, point.accuracy.n) for point in result.bins] == [
        (pytest.approx(0.6), 0.5, 10),
        (pytest.approx(0.8), 0.9, 10),
    ]
    expected = (5 * 2 * 0.4**2 + 5 * 2 * 0.6**2 + 9 * 2 * 0.2**2 + 2 * 0.8**2) / 20
    assert result.brier.value == pytest.approx(expected)


def test_error_by_chance_is_that_of_perfect_calibration():
    draws = np.random.default_rng(0).binomial(10, [[0.6, 0.8]], (20000, 2)) / 10
    expected = np.abs(draws - [0.6, 0.8]).mean()
    assert calibration(*two_bins()).ece_by_chance == pytest.approx(expected, abs=0.01)


@settings(max_examples=25)
@given(seeds, st.integers(20, 130))
def test_bins_hold_equal_numbers_in_order(seed, n):
    result = calibration(*draw(seed, n))
    numbers = [point.accuracy.n for point in result.bins]
    assert sum(numbers) == n
    assert max(numbers) - min(numbers) <= 1
    assert min(numbers) >= 10
    confidences = [point.confidence for point in result.bins]
    assert confidences == sorted(confidences)


@settings(max_examples=25)
@given(seeds, st.floats(0.6, 2.0))
def test_temperature_has_the_lowest_cross_entropy(seed, divisor):
    grades, probabilities = draw(seed, divisor=divisor)
    best = temperature(grades, probabilities)
    assert best.low < best.value < best.high

    def loss(at):
        return log_loss(grades, temperature_scaled(probabilities, at), labels=range(5)) * len(grades)

    assert loss(best.value) <= min(loss(best.value * 1.01), loss(best.value / 1.01))
    assert loss(best.low) - loss(best.value) == pytest.approx(3.841459 / 2, rel=1e-3)
    assert loss(best.high) - loss(best.value) == pytest.approx(3.841459 / 2, rel=1e-3)


def test_temperature_removes_overconfidence():
    grades, probabilities = draw(0, n=2000, divisor=2.5)
    result = calibration(grades, probabilities)
    assert result.ece > result.ece_limit
    assert result.overconfidence.low > 0
    assert result.temperature.low < 2.5 < result.temperature.high
    scaled = calibration(grades, temperature_scaled(probabilities, result.temperature.value))
    assert scaled.ece < scaled.ece_limit
    assert scaled.temperature.value == pytest.approx(1.0, abs=1e-4)


def test_float16_probabilities_of_zero_have_a_finite_temperature():
    stored = np.array([[1.0, 0.0], [0.0, 1.0], [0.75, 0.25], [0.25, 0.75]] * 3, dtype=np.float16)
    grades = np.array([1] + [1, 0, 1] + [0, 1, 0, 1] * 2)  # the first image has 0 for its grade
    assert np.isfinite(temperature(grades, stored).value)


def test_temperature_is_withheld_where_every_image_is_correct():
    grades = np.arange(5).repeat(5)
    result = temperature(grades, np.eye(5)[grades] * 0.5 + 0.1)
    assert result == Withheld("no temperature is too low for these images: each of them is graded correctly")


def test_temperature_is_withheld_for_misleading_probabilities():
    grades = np.arange(5).repeat(5)
    assert isinstance(temperature(grades, np.eye(5)[(grades + 1) % 5] * 0.5 + 0.1), Withheld)


def test_few_images_have_no_reliability_curve():
    assert calibration(*draw(0, n=19)) == Withheld("a reliability curve needs at least 20 images, there are 19")
