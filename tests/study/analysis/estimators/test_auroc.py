import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.metrics import roc_auc_score

from study.analysis import Withheld
from study.analysis.estimators.auroc import binary_auroc, macro_auroc


def two_classes(rng, inside=12, outside=30, apart=1.0):
    positive = np.arange(inside + outside) < inside
    return positive, np.round(rng.normal(apart * positive, 1.0), 1)  # rounded, so that ties occur


def delong_variance(positive, scores):
    """The definition: sample variances of the structural components (DeLong et al. 1988, eq. 5 and 6)."""
    wins = np.sign(scores[positive][:, None] - scores[~positive][None, :]) / 2 + 0.5
    return wins.mean(axis=1).var(ddof=1) / wins.shape[0] + wins.mean(axis=0).var(ddof=1) / wins.shape[1]


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_area_agrees_with_scikit_learn(seed):
    positive, scores = two_classes(np.random.default_rng(seed))
    assert binary_auroc(positive, scores).value == pytest.approx(roc_auc_score(positive, scores))


def test_area_by_hand():
    positive = np.array([True, True, False, False, False])
    result = binary_auroc(positive, np.array([0.9, 0.4, 0.4, 0.3, 0.6]))  # 3 of 3, and 1.5 of 3
    assert result.value == 4.5 / 6


def test_interval_is_that_of_delong_on_the_logit_scale():
    positive, scores = two_classes(np.random.default_rng(3), inside=400, outside=900)
    result, variance = binary_auroc(positive, scores), delong_variance(positive, scores)
    reach = stats.norm.ppf(0.975) * variance**0.5 / (result.value * (1 - result.value))
    expected = special.expit(special.logit(result.value) + np.array([-reach, reach]))
    assert (result.low, result.high) == pytest.approx(expected, abs=2e-4)  # t is close to normal for so many


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_exchanging_the_classes_mirrors_the_interval(seed):
    positive, scores = two_classes(np.random.default_rng(seed))
    first, second = binary_auroc(positive, scores), binary_auroc(~positive, scores)
    assert second.value == pytest.approx(1 - first.value)
    if first.low is None:
        assert second.low is None
        return
    assert (second.low, second.high) == pytest.approx((1 - first.high, 1 - first.low))
    assert 0 <= first.low <= first.value <= first.high <= 1


def test_perfect_separation_has_no_interval():
    positive = np.array([True, True, False, False])
    assert binary_auroc(positive, np.array([0.9, 0.8, 0.2, 0.1])) == (1.0, None, None, 4, None)


def test_a_class_of_one_has_no_interval():
    positive = np.array([True, False, False, False])
    assert binary_auroc(positive, np.array([0.5, 0.8, 0.2, 0.1]))[:3] == (pytest.approx(2 / 3), None, None)


@pytest.mark.parametrize("positive", [[True, True], [False, False]])
def test_one_class_has_no_area(positive):
    assert isinstance(binary_auroc(np.array(positive), np.array([0.1, 0.2])), Withheld)


def draw(rng, counts):
    grades = np.repeat(np.arange(len(counts)), counts)
    logits = rng.normal(0, 1, (len(grades), len(counts))) + 1.2 * np.eye(len(counts))[grades]
    return grades, special.softmax(logits, axis=1)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_macro_area_agrees_with_scikit_learn(seed):
    grades, probabilities = draw(np.random.default_rng(seed), (9, 2, 9, 5, 3))
    expected = roc_auc_score(grades, probabilities, multi_class="ovr", average="macro")
    assert macro_auroc(grades, probabilities).value == pytest.approx(expected)


def test_macro_area_of_two_grades_is_the_area():
    grades, probabilities = draw(np.random.default_rng(0), (20, 15))
    first, second = macro_auroc(grades, probabilities), binary_auroc(grades == 1, probabilities[:, 1])
    assert first[:4] == pytest.approx(second[:4])


def test_grades_that_do_not_occur_count_in_no_mean():
    grades, probabilities = draw(np.random.default_rng(1), (9, 0, 9, 5))
    present = [roc_auc_score(grades == grade, probabilities[:, grade]) for grade in (0, 2, 3)]
    assert macro_auroc(grades, probabilities).value == pytest.approx(np.mean(present))


def test_one_grade_has_no_macro_area():
    assert isinstance(macro_auroc(np.zeros(4, dtype=np.int64), np.full((4, 2), 0.5)), Withheld)
