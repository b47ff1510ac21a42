import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from study.analysis import Withheld
from study.analysis.estimators.referable import referable, referable_threshold

seeds = st.integers(0, 2**32 - 1)


def with_scores(scores, grades):
    """Probabilities whose referable grades sum to the scores."""
    scores = np.array(scores)
    return np.array(grades), np.stack([1 - scores, 0 * scores, scores / 2, scores / 2, 0 * scores], axis=1)


def draw(seed, n=60):
    rng = np.random.default_rng(seed)
    grades = np.concatenate([[0, 4], rng.integers(0, 5, n)])
    return with_scores(np.round(1 / (1 + np.exp(-rng.normal(grades - 2, 2))), 2), grades)


def test_threshold_lies_halfway_where_youden_is_highest():
    grades, probabilities = with_scores([0.1, 0.2, 0.3, 0.6, 0.8, 0.9], [0, 1, 2, 1, 3, 4])
    assert referable_threshold(grades, probabilities) == pytest.approx(0.25)  # 3/3 and 2/3, against 2/3 and 3/3 at 0.7


def test_sensitivity_and_specificity_by_hand():
    grades, probabilities = with_scores([0.1, 0.2, 0.3, 0.6, 0.8, 0.9], [0, 1, 2, 1, 3, 4])
    result = referable(grades, probabilities, threshold=0.5)
    assert (result.n_referable, result.n_other, result.threshold, result.optimistic) == (3, 3, 0.5, False)
    assert (result.sensitivity.value, result.specificity.value) == (2 / 3, 2 / 3)
    assert result.sensitivity[1:3] == pytest.approx((0.0943, 0.9916), abs=1e-4)  # Clopper & Pearson, 2 of 3


def test_threshold_chosen_on_these_images_is_marked_optimistic():
    assert referable(*draw(0)).optimistic
    assert not referable(*draw(0), threshold=referable_threshold(*draw(1))).optimistic


@settings(max_examples=25)
@given(seeds)
def test_threshold_is_as_good_as_the_best_of_scikit_learn(seed):
    grades, probabilities = draw(seed)
    result = referable(grades, probabilities)
    false_positive_rate, true_positive_rate, _ = metrics.roc_curve(
        grades >= 2, probabilities[:, 2:].sum(axis=1), drop_intermediate=False
    )
    reached = result.sensitivity.value + result.specificity.value - 1
    assert reached == pytest.approx((true_positive_rate - false_positive_rate).max())


@settings(max_examples=25)
@given(seeds)
def test_area_is_independent_of_the_threshold(seed):
    grades, probabilities = draw(seed)
    expected = metrics.roc_auc_score(grades >= 2, probabilities[:, 2:].sum(axis=1))
    assert referable(grades, probabilities).auroc.value == pytest.approx(expected)
    assert referable(grades, probabilities, threshold=0.9).auroc == referable(grades, probabilities).auroc


def test_other_scales_have_no_referable_grades():
    result = referable(np.array([0, 1]), np.array([[0.5, 0.5], [0.2, 0.8]]))
    assert result == Withheld(
        "referable retinopathy is defined on the 5 grades of the international scale, and this data set has 2"
    )


@pytest.mark.parametrize("grade", [0, 3])
def test_images_of_one_group_are_withheld(grade):
    grades, probabilities = with_scores([0.2, 0.6], [grade, grade])
    assert isinstance(referable(grades, probabilities), Withheld)
    assert isinstance(referable_threshold(grades, probabilities), Withheld)
