"""Whether a promise was kept: rarely called broken if it is right, and called broken if it is far too high."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from study.analysis.promise_on_test import POWER, check_promise, promise_on_test
from study.results.test_set import ModelPredictions, OpenedTestSet, PromisedAccuracy


def promise(value, sd=0.02):
    return PromisedAccuracy(value, value - 1.96 * sd, min(1.0, value + 1.96 * sd), 400)


@pytest.mark.parametrize("value", [0.3, 0.61, 0.95])
@pytest.mark.parametrize("n", [10, 53, 103, 1000])
@pytest.mark.parametrize("sd", [0.0, 0.02, 0.05])
def test_a_right_promise_is_called_broken_in_at_most_one_of_forty_studies(value, n, sd):
    rng = np.random.default_rng(n)
    truths = np.clip(rng.normal(value, sd, 4000), 0, 1)
    broken = rng.binomial(n, truths) / n < check_promise(promise(value, sd), 0, n).least
    assert broken.mean() < 0.025 + 3 * np.sqrt(0.025 / len(truths))
    if n >= 100:  # and hardly less often: a weaker criterion would see less
        assert broken.mean() > 0.008


@pytest.mark.parametrize("n", [53, 103, 1000])
def test_a_shortfall_that_is_called_detectable_is_found_as_often_as_stated(n):
    check = check_promise(promise(0.61), 0, n)
    correct = np.random.default_rng(0).binomial(n, 0.61 - check.detectable, 4000)
    assert (correct / n < check.least).mean() == pytest.approx(POWER, abs=0.03)
    assert check.outcome == "not kept"


def test_an_exact_promise_is_tested_by_the_binomial_distribution():
    check = check_promise(PromisedAccuracy(0.6, 0.6, 0.6, 400), 50, 103)
    assert check.probability == pytest.approx(stats.binomtest(50, 103, 0.6, "less").pvalue)
    least = round(check.least * 103)
    assert stats.binom.cdf(least - 1, 103, 0.6) <= 0.025 < stats.binom.cdf(least, 103, 0.6)


@given(st.floats(0, 1), st.floats(0, 0.2), st.integers(1, 200), st.data())
def test_the_outcome_follows_from_the_accuracy(value, sd, n, data):
    correct = data.draw(st.integers(0, n))
    check = check_promise(promise(value, sd), correct, n)
    assert 0 <= check.least <= 1
    assert (check.outcome == "not kept") == (check.measured.value < check.least) == (check.probability <= 0.025)
    assert (check.outcome == "not decidable") == (check.least == 0) == (check.detectable is None)
    assert check_promise(promise(value, sd), n, n).outcome != "not kept"


def test_an_uncertain_promise_allows_more_and_more_images_allow_less():
    least = {(sd, n): check_promise(promise(0.6, sd), n, n).least for sd in (0.0, 0.05) for n in (50, 500)}
    assert least[0.05, 50] < least[0.0, 50] < least[0.0, 500] < 0.6
    assert least[0.05, 500] < least[0.0, 500]


def test_very_few_images_decide_nothing():
    check = check_promise(promise(0.6), 0, 3)
    assert (check.outcome, check.detectable) == ("not decidable", None)


def test_no_image_is_an_error():
    with pytest.raises(ValueError, match="n >= 1"):
        check_promise(promise(0.6), 0, 0)


def test_models_are_compared_image_by_image():
    grades = np.arange(40) % 5
    wrong = (grades + 1) % 5
    models = (
        ModelPredictions("recommended", 3, (1, 2), np.where(np.arange(40) < 30, grades, wrong)),
        ModelPredictions("untuned", 2, (5, 6), np.where(np.arange(40) < 20, grades, wrong)),
        ModelPredictions("linear model", None, (), np.where(np.arange(40) >= 10, grades, wrong)),
    )
    ids = tuple(map(str, range(40)))
    scores = promise_on_test(OpenedTestSet("2026-01-01", promise(0.7), ids, grades, models, {}))
    assert [(model.name, model.members, model.accuracy.value) for model in scores.models] == [
        ("recommended", 2, 0.75),
        ("untuned", 2, 0.5),
        ("linear model", 0, 0.75),
    ]
    assert scores.check.measured == scores.models[0].accuracy
    untuned, linear = (model.difference for model in scores.models[1:])
    assert (untuned.difference.value, untuned.only_one, untuned.only_other) == (0.25, 10, 0)
    assert untuned.difference.low > 0
    assert (linear.difference.value, linear.only_one, linear.only_other) == (0, 10, 10)
    assert linear.difference.low < 0 < linear.difference.high
    assert scores.models[0].difference is None
