import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from study.analysis import Withheld
from study.analysis.estimators.referable import referable, referable_threshold

seeds = st.integers(0, 2**32 - 1)


def made(scores, grades):
    """Probabilities whose referable grades sum to the scores."""
    scores = np.array(scores)
    return np.array(grades), np.stack([1 - scores, 0 * scores, scores / 2, scores / 2, 0 * scores], axis=1)


def drawn(seed, n=60):
    rng = np.random.default_rng(seed)
    grades = np.concatenate([[0, 4], rng.integers(0, 5, n)])
    return made(np.round(1 / (1 + np.exp(-rng.normal(grades - 2, 2))), 2), grades)


def test_threshold_lies_halfway_where_youden_is_highest():
    grades, probabilities = made([0.1, 0.2, 0.3, 0.6, 0.8, 0.9], [0, 1, 2, 1, 3, 4])
    assert referable_threshold(grades, probabilities) == pytest.approx(0.25)  # 3/3 and 2/3, against 2/3 and 3/3 at 0.7


def test_sensitivity_and_specificity_by_hand():
    grades, probabilities = made([0.1, 0.2, 0.3, 0.6, 0.8, 0.9], [0, 1, 2, 1, 3, 4])
    found = referable(grades, probabilities, threshold=0.5)
    assert (found.n_referable, found.n_other, found.threshold, found.optimistic) == (3, 3, 0.5, False)
    assert (found.sensitivity.value, found.specificity.value) == (2 / 3, 2 / 3)
    assert found.sensitivity[1:3] == pytest.approx((0.0943, 0.9916), abs=1e-4)  # Clopper & Pearson, 2 of 3


def test_threshold_chosen_on_these_images_is_said_to_be_optimistic():
    assert referable(*drawn(0)).optimistic
    assert not referable(*drawn(0), threshold=referable_threshold(*drawn(1))).optimistic


@settings(max_examples=25)
@given(seeds)
def test_threshold_is_as_good_as_scikit_learns_best(seed):
    grades, probabilities = drawn(seed)
    found = referable(grades, probabilities)
    missed, found_share, _ = metrics.roc_curve(grades >= 2, probabilities[:, 2:].sum(axis=1), drop_intermediate=False)
    reached = found.sensitivity.value + found.specificity.value - 1
    assert reached == pytest.approx((found_share - missed).max())


@settings(max_examples=25)
@given(seeds)
def test_area_needs_no_threshold(seed):
    grades, probabilities = drawn(seed)
    expected = metrics.roc_auc_score(grades >= 2, probabilities[:, 2:].sum(axis=1))
    assert referable(grades, probabilities).auroc.value == pytest.approx(expected)
    assert referable(grades, probabilities, threshold=0.9).auroc == referable(grades, probabilities).auroc


def test_other_scales_have_no_referable_grades():
    found = referable(np.array([0, 1]), np.array([[0.5, 0.5], [0.2, 0.8]]))
    assert found == Withheld(
        "referable retinopathy is defined on the 5 grades of the international scale, and this data set has 2"
    )


@pytest.mark.parametrize("grade", [0, 3])
def test_one_kind_of_images_cannot_be_compared(grade):
    grades, probabilities = made([0.2, 0.6], [grade, grade])
    assert isinstance(referable(grades, probabilities), Withheld)
    assert isinstance(referable_threshold(grades, probabilities), Withheld)
