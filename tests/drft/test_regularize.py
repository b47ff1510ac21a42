"""The loss weighs grades as its configuration says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drft.config import LossConfig
from drft.regularize import class_weights, training_loss

grade_lists = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(np.array)


@given(grade_lists, st.sampled_from(["none", "sqrt", "balanced"]))
def test_weights_have_mean_one_over_the_photographs(grades, weighting):
    weights = class_weights(grades, 5, weighting)
    assert weights[grades].mean() == pytest.approx(1, rel=1e-5)
    assert all(weights[grade] == 0 for grade in set(range(5)) - set(grades.tolist()))


def test_balanced_weights_are_inverse_frequencies():
    grades = np.repeat([0, 1, 2], [6, 3, 1])
    assert class_weights(grades, 3, "balanced") == pytest.approx(10 / (3 * np.array([6, 3, 1])))
    assert class_weights(grades, 3, "sqrt")[2] / class_weights(grades, 3, "sqrt")[0] == pytest.approx(6**0.5)


def test_label_smoothing_reaches_the_loss():
    grades, logits = np.array([0, 1]), torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    plain = training_loss(LossConfig(), grades, 2)(logits, torch.from_numpy(grades))
    smooth = training_loss(LossConfig(label_smoothing=0.2), grades, 2)(logits, torch.from_numpy(grades))
    assert smooth - plain == pytest.approx(0.2 / 2 * 9, rel=1e-4)
