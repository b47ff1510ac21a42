"""Each loss is its formula, weighs grades as its configuration says, and adds up over parts of a batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drft.config.trial_config import LossConfig
from drft.training.losses import class_weights, training_loss

grade_lists = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(np.array)
WEIGHTINGS = ["none", "sqrt", "balanced", "effective_number"]


def outputs_of(images, classes=5):
    return torch.randn(images, classes, dtype=torch.float64) * 3


@given(grade_lists, st.sampled_from(WEIGHTINGS))
def test_weights_have_mean_one_over_the_images(grades, weighting):
    weights = class_weights(grades, 5, LossConfig(class_weighting=weighting))
    assert weights[grades].mean() == pytest.approx(1, rel=1e-5)
    assert all(weights[grade] == 0 for grade in set(range(5)) - set(grades.tolist()))


def test_balanced_weights_are_inverse_frequencies():
    grades = np.repeat([0, 1, 2], [6, 3, 1])
    balanced, root = (class_weights(grades, 3, LossConfig(class_weighting=name)) for name in ("balanced", "sqrt"))
    assert balanced == pytest.approx(10 / (3 * np.array([6, 3, 1])))
    assert root[2] / root[0] == pytest.approx(6**0.5)


def test_effective_numbers_lie_between_equal_weights_and_inverse_frequencies():
    grades = np.repeat([0, 1], [8, 2])

    def ratio(beta):
        weights = class_weights(grades, 2, LossConfig(class_weighting="effective_number", effective_beta=beta))
        return weights[1] / weights[0]

    assert ratio(0.9) == pytest.approx((1 - 0.9**8) / (1 - 0.9**2))
    assert ratio(0.0) == 1
    assert ratio(1 - 1e-9) == pytest.approx(4)


def test_label_smoothing_reaches_the_loss():
    grades, logits = np.array([0, 1]), torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    plain = training_loss(LossConfig(), grades, 2)(logits, torch.from_numpy(grades))
    smooth = training_loss(LossConfig(label_smoothing=0.2), grades, 2)(logits, torch.from_numpy(grades))
    assert smooth - plain == pytest.approx(0.2 / 2 * 9, rel=1e-4)


def test_focal_terms_count_less_where_they_are_sure():
    grades, outputs = np.array([0, 1, 1, 2]), outputs_of(4, 3)
    config = LossConfig(focal_gamma=2, class_weighting="balanced")
    found = training_loss(config, grades, 3).double()(outputs, torch.from_numpy(grades))
    p = outputs.softmax(dim=1).numpy()[np.arange(4), grades]
    weights = np.array([4 / 3, 2 / 3, 2 / 3, 4 / 3])
    assert found == pytest.approx((weights * (1 - p) ** 2 * -np.log(p)).sum() / weights.sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_focal_loss_goes_over_into_the_cross_entropy(smoothing):
    grades, outputs = np.array([0, 1, 1, 2]), outputs_of(4, 3)
    focal, plain = (
        training_loss(
            LossConfig(class_weighting="balanced", label_smoothing=smoothing, focal_gamma=gamma), grades, 3
        ).double()
        for gamma in (1e-9, 0.0)
    )
    assert type(focal) is not type(plain)
    assert focal(outputs, torch.from_numpy(grades)) == pytest.approx(plain(outputs, torch.from_numpy(grades)))


def test_a_certain_image_gives_no_broken_gradient():
    outputs = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    grades = np.array([0, 0])
    training_loss(LossConfig(focal_gamma=0.5), grades, 2)(outputs, torch.from_numpy(grades)).backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
    assert outputs.grad[1, 0] < 0


def sigmoid(x):
    return torch.sigmoid(x).numpy()


def test_coral_asks_for_each_grade_whether_it_is_reached():
    grades, outputs = np.array([0, 2, 1]), outputs_of(3, 3)
    found = training_loss(LossConfig(kind="coral"), grades, 3).double()(outputs, torch.from_numpy(grades))
    p = sigmoid(outputs[:, :1] + outputs[:, 1:])
    questions = [(1 - p[0, 0]) * (1 - p[0, 1]), p[1, 0] * p[1, 1], p[2, 0] * (1 - p[2, 1])]
    assert found == pytest.approx(-np.log(questions).mean())


def test_corn_asks_only_who_has_come_so_far():
    grades, outputs = np.array([0, 2, 1]), outputs_of(3, 3)
    loss = training_loss(LossConfig(kind="corn"), grades, 3).double()
    p = sigmoid(outputs)
    answers = [1 - p[0, 0], p[1, 0], p[1, 1], p[2, 0], 1 - p[2, 1]]
    assert loss(outputs, torch.from_numpy(grades)) == pytest.approx(-np.log(answers).mean())
    weighted = training_loss(LossConfig(kind="corn", class_weighting="balanced"), np.array([0, 0, 1, 2]), 3).double()
    w = np.array([2 / 3, 4 / 3, 4 / 3])[[0, 2, 2, 1, 1]]
    assert weighted(outputs, torch.from_numpy(grades)) == pytest.approx(-(w * np.log(answers)).sum() / w.sum())


def test_the_expected_grade_is_squared_away_from_the_true_one():
    grades, outputs = np.array([0, 2, 1]), outputs_of(3, 3)
    loss = training_loss(LossConfig(kind="expected_grade"), grades, 3).double()
    expected = outputs.softmax(dim=1).numpy() @ np.arange(3)
    assert loss(outputs, torch.from_numpy(grades)) == pytest.approx(((expected - grades) ** 2).mean())


@pytest.mark.parametrize("kind", ["coral", "corn", "expected_grade"])
def test_gradients_of_ordinal_losses_are_those_of_differences(kind):
    grades, outputs = torch.tensor([0, 1, 3, 3]), outputs_of(4, 4).requires_grad_()
    loss = training_loss(LossConfig(kind=kind, class_weighting="sqrt"), grades.numpy(), 4).double()
    assert torch.autograd.gradcheck(lambda given: loss(given, grades), (outputs,))


@pytest.mark.parametrize(
    "settings",
    [{}, {"focal_gamma": 1.5, "label_smoothing": 0.1}, {"kind": "coral"}, {"kind": "corn"}, {"kind": "expected_grade"}],
)
def test_parts_of_a_batch_add_up(settings):
    grades, outputs = np.arange(12) % 5, outputs_of(12)
    loss = training_loss(LossConfig(class_weighting="sqrt", **settings), grades, 5).double()
    told = torch.from_numpy(grades)
    parts = [slice(0, 5), slice(5, 6), slice(6, 12)]
    together = sum(loss(outputs[part], told[part]) * loss.share(told[part]) for part in parts) / loss.share(told)
    assert together == pytest.approx(loss(outputs, told))
