"""The thresholds give the highest possible kappa."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drft.metrics import confusion, qwk
from drft.models.qwk_thresholds import qwk_thresholds

graded = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), min_size=2, max_size=8)


def kappa(thresholds, scores, grades):
    return qwk(confusion(grades, (scores[:, None] > thresholds).sum(axis=1), 4))


@given(graded)
def test_no_other_thresholds_are_better(pairs):
    scores, grades = (np.array(column) for column in zip(*pairs, strict=True))
    thresholds = qwk_thresholds(scores / 2.0, grades, 4)
    assert (np.diff(thresholds) >= 0).all()
    if len(set(grades.tolist())) > 1:
        cuts = combinations_with_replacement(np.arange(-0.25, 5, 0.5), 3)
        best = max(kappa(np.array(cut), scores / 2.0, grades) for cut in cuts)
        assert kappa(thresholds, scores / 2.0, grades) == pytest.approx(best)


def test_with_one_grade_thresholds_lie_midway_between_grades():
    assert qwk_thresholds(np.array([0.1, 3.0]), np.array([2, 2]), 4).tolist() == [0.5, 1.5, 2.5]
