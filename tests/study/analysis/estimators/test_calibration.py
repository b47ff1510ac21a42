import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn.metrics import log_loss

from study.analysis import Withheld
from study.analysis.estimators.calibration import calibration, temperature, temperature_scaled

seeds = st.integers(0, 2**32 - 1)


def made(seed, n=83, degrees=1.0, spread=2.0):
    """Grades drawn from probabilities, which are then told at another temperature than the true one."""
    rng = np.random.default_rng(seed)
    true = special.softmax(rng.normal(0, spread, (n, 5)), axis=1)
    grades = (true.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, 4)
    return grades, temperature_scaled(true, 1 / degrees)


def two_bins():
    """Ten images at 60 % of which 5 are right, ten at 80 % of which 9 are."""
    confidence = np.repeat([0.6, 0.8], 10)
    grades = np.array([0] * 5 + [1] * 5 + [0] * 9 + [1])
    return grades, np.stack([confidence, 1 - confidence], axis=1)


def test_errors_by_hand():
    found = calibration(*two_bins())
    assert found.ece == pytest.approx(0.1)
    assert found.overconfidence.value == pytest.approx(0.7 - 0.7)
    assert [(one.confidence, one.accuracy.value, one.accuracy.n) for one in found.bins] == [
        (pytest.approx(0.6), 0.5, 10),
        (pytest.approx(0.8), 0.9, 10),
    ]
    expected = (5 * 2 * 0.4**2 + 5 * 2 * 0.6**2 + 9 * 2 * 0.2**2 + 2 * 0.8**2) / 20
    assert found.brier.value == pytest.approx(expected)


def test_perfect_calibration_shows_an_error_by_chance_alone():
    draws = np.random.default_rng(0).binomial(10, [[0.6, 0.8]], (20000, 2)) / 10
    expected = np.abs(draws - [0.6, 0.8]).mean()
    assert calibration(*two_bins()).ece_by_chance == pytest.approx(expected, abs=0.01)


@settings(max_examples=25)
@given(seeds, st.integers(20, 130))
def test_bins_hold_equal_numbers_in_order(seed, n):
    found = calibration(*made(seed, n))
    numbers = [one.accuracy.n for one in found.bins]
    assert sum(numbers) == n
    assert max(numbers) - min(numbers) <= 1
    assert min(numbers) >= 10
    confidences = [one.confidence for one in found.bins]
    assert confidences == sorted(confidences)


@settings(max_examples=25)
@given(seeds, st.floats(0.6, 2.0))
def test_temperature_has_the_lowest_cross_entropy(seed, degrees):
    grades, probabilities = made(seed, degrees=degrees)
    best = temperature(grades, probabilities)
    assert best.low < best.value < best.high

    def loss(at):
        return log_loss(grades, temperature_scaled(probabilities, at), labels=range(5)) * len(grades)

    assert loss(best.value) <= min(loss(best.value * 1.01), loss(best.value / 1.01))
    assert loss(best.low) - loss(best.value) == pytest.approx(3.841459 / 2, rel=1e-3)
    assert loss(best.high) - loss(best.value) == pytest.approx(3.841459 / 2, rel=1e-3)


def test_overconfidence_is_found_and_undone():
    grades, probabilities = made(0, n=2000, degrees=2.5)
    found = calibration(grades, probabilities)
    assert found.ece > found.ece_limit
    assert found.overconfidence.low > 0
    assert found.temperature.low < 2.5 < found.temperature.high
    mended = calibration(grades, temperature_scaled(probabilities, found.temperature.value))
    assert mended.ece < mended.ece_limit
    assert mended.temperature.value == pytest.approx(1.0, abs=1e-4)


def test_float16_probabilities_of_nought_are_no_infinity():
    stored = np.array([[1.0, 0.0], [0.0, 1.0], [0.75, 0.25], [0.25, 0.75]] * 3, dtype=np.float16)
    grades = np.array([1] + [1, 0, 1] + [0, 1, 0, 1] * 2)  # the first image has 0 for its grade
    assert np.isfinite(temperature(grades, stored).value)


def test_all_right_has_no_temperature():
    grades = np.arange(5).repeat(5)
    found = temperature(grades, np.eye(5)[grades] * 0.5 + 0.1)
    assert found == Withheld("no temperature is too low for these images: each of them is graded rightly")


def test_probabilities_that_mislead_have_no_temperature():
    grades = np.arange(5).repeat(5)
    assert isinstance(temperature(grades, np.eye(5)[(grades + 1) % 5] * 0.5 + 0.1), Withheld)


def test_few_images_have_no_reliability_curve():
    assert calibration(*made(0, n=19)) == Withheld("a reliability curve needs at least 20 images, there are 19")
