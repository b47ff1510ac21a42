import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from study.analysis import Withheld, proportion
from study.analysis.estimators.grading import balanced_accuracy_estimate, grading, kappa_estimate
from study.analysis.estimators.intervals import exact_proportion

sizes = st.lists(st.integers(0, 12), min_size=5, max_size=5).filter(lambda counts: sum(c > 0 for c in counts) > 1)


def draw(seed, counts=(27, 4, 27, 15, 10), sharpness=1.5):
    rng = np.random.default_rng(seed)
    grades = np.repeat(np.arange(len(counts)), counts)
    logits = rng.normal(0, 1, (len(grades), len(counts))) + sharpness * np.eye(len(counts))[grades]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return grades, probabilities.astype(np.float16)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), sizes)
def test_values_agree_with_scikit_learn(seed, counts):
    grades, probabilities = draw(seed, counts)
    predicted, result = probabilities.argmax(axis=1), grading(grades, probabilities)
    assert result.n == len(grades)
    assert result.accuracy.value == pytest.approx(metrics.accuracy_score(grades, predicted))
    occurring = np.unique(grades)
    recalls = metrics.recall_score(grades, predicted, labels=occurring, average=None, zero_division=0)
    assert result.balanced_accuracy.value == pytest.approx(recalls.mean())
    assert [result.recall[grade].value for grade in occurring] == pytest.approx(recalls)
    assert np.array_equal(result.confusion, metrics.confusion_matrix(grades, predicted, labels=range(5)))
    expected = metrics.cohen_kappa_score(grades, predicted, labels=range(5), weights="quadratic")
    assert result.qwk.value == pytest.approx(expected)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), sizes)
def test_intervals_contain_their_values(seed, counts):
    result = grading(*draw(seed, counts))
    for estimate in (result.accuracy, result.balanced_accuracy, result.auroc, *result.recall):
        if not isinstance(estimate, Withheld) and estimate.low is not None:
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_grades_that_do_not_occur_have_no_recall():
    result = grading(*draw(0, (10, 0, 10, 10, 10)))
    assert result.recall[1] == Withheld("no image has this class")
    assert [estimate.n for grade, estimate in enumerate(result.recall) if grade != 1] == [10] * 4


def test_recall_is_exact():
    result = grading(np.array([0, 0, 0, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]))
    assert result.recall[0][:3] == pytest.approx((1.0, 0.025 ** (1 / 3), 1.0))  # all of n: the n-th root of 2.5 %
    assert result.recall[1][:3] == pytest.approx((0.0, 0.0, 0.975))


@settings(max_examples=25)
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_exact_proportion_is_clopper_and_pearsons_interval(share):
    successes, n = share
    low = stats.beta.ppf(0.025, successes, n - successes + 1) if successes else 0.0
    high = stats.beta.isf(0.025, successes + 1, n - successes) if successes < n else 1.0
    assert exact_proportion(successes, n)[:3] == pytest.approx((successes / n, low, high), abs=1e-9)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_exact_proportion_of_impossible_counts_is_an_error(successes, n):
    with pytest.raises(ValueError, match="needs 0 <= successes <= n"):
        exact_proportion(successes, n)


def test_balanced_accuracy_of_one_grade_is_wilsons_interval():
    result = balanced_accuracy_estimate(np.array([[7, 3], [0, 0]]))
    assert result[:3] == pytest.approx(proportion(7, 10)[:3])


def test_balanced_accuracy_of_three_of_three_is_not_certain():
    result = balanced_accuracy_estimate(np.array([[3, 0], [0, 3]]))
    assert result.value == result.high == 1.0
    assert result.low == pytest.approx(1 - (1 - proportion(3, 3).low) / 2**0.5)


def test_kappa_is_reproducible():
    grades, probabilities = draw(1)
    assert grading(grades, probabilities) == grading(grades, probabilities)
    assert grading(grades, probabilities, seed=1).qwk.low != grading(grades, probabilities).qwk.low


def test_kappa_interval_is_that_of_a_plain_bootstrap_over_images():
    grades, probabilities = draw(2)
    predicted, rng = probabilities.argmax(axis=1), np.random.default_rng(0)
    drawn = [rng.integers(0, len(grades), len(grades)) for _ in range(400)]
    replicas = [metrics.cohen_kappa_score(grades[d], predicted[d], weights="quadratic") for d in drawn]
    result = grading(grades, probabilities).qwk
    assert (result.low, result.high) == pytest.approx(np.quantile(replicas, [0.025, 0.975]), abs=0.03)


@pytest.mark.parametrize("counts", [[[4, 1], [2, 8]], [[20, 0], [20, 0]]])
def test_kappa_of_few_images_or_one_predicted_grade_has_no_interval(counts):
    result = kappa_estimate(np.array(counts))
    assert (result.low, result.high) == (None, None)


def test_grading_without_images_is_withheld():
    assert grading(np.empty(0, dtype=np.int64), np.empty((0, 5))) == Withheld("there is no image to predict")
