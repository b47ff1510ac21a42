"""A head that starts as a linear probe is the regression it says."""

import numpy as np
import pytest
import torch

from drft.config.trial_config import TrialConfig, parse_config, with_values
from drft.errors import BackboneError
from drft.models.blocks import head_modules
from drft.training.linear_probe import fit_linear_probe, start_from_linear_probe
from drft.training.regularization.penalties import classifier_inputs
from drft.training.session import TrainingSession
from drft.training.trial import run_trial

LP_FT = parse_config(
    {
        "image_size": 32,
        "batch_size": 16,
        "dropout": 0.5,
        "precision": "fp32",
        "backbone": {"name": "test_resnet", "weights": "none"},
        "loss": {"class_weighting": "sqrt"},
        "head_phase": {"epochs": 0, "init": "linear_probe", "probe_l2": 0.02},
        "depth_phase": {"epochs": 1, "lr": 1e-12, "head_lr": 1e-12},
        "batch_norm": "frozen",
    }
)


@pytest.fixture(scope="module")
def session(tiny_dataset):
    return TrainingSession(tiny_dataset, device="cpu", cache_size=0)


def slope(features, grades, weights, l2, weight, bias):
    """Return the largest entry of the gradient of the penalized mean loss."""
    weight, bias = (torch.as_tensor(each).double().requires_grad_() for each in (weight, bias))
    logits = torch.as_tensor(features).double() @ weight.T + bias
    loss = torch.nn.functional.cross_entropy(logits, torch.as_tensor(grades), torch.as_tensor(weights).double())
    gradients = torch.autograd.grad(loss + l2 / 2 * weight.square().sum(), (weight, bias))
    return max(float(each.abs().max()) for each in gradients)


def test_the_gradient_is_zero_at_the_probe_also_with_a_grade_nobody_has():
    random = np.random.default_rng(0)
    features, grades = random.normal(size=(30, 6)), random.choice([0, 1, 3], 30)
    weights = np.array([1.0, 0.5, 0.0, 2.0])
    probe = fit_linear_probe(features, grades, weights, 0.1)
    assert slope(features, grades, weights, 0.1, probe.weight, probe.bias) < 1e-6
    start = np.zeros_like(probe.weight), np.zeros_like(probe.bias)
    assert slope(features, grades, weights, 0.1, *start) > 1e-2
    assert (features @ probe.weight.T + probe.bias).argmax(axis=1).max() <= 3


def test_the_head_starts_as_the_probe_of_the_plain_training_images(session):
    context = session.prepare(LP_FT)
    start_from_linear_probe(context)
    net, train = context.model.net, context.split.train
    images = context.views.normalize(context.views.plain(train))
    with torch.no_grad(), classifier_inputs(net.eval()) as seen:
        net(images)
    counts = np.bincount(context.grades[train], minlength=5)
    (head,) = head_modules(net)
    found = slope(seen[0], context.grades[train], counts**-0.5, 0.02, head.weight.detach(), head.bias.detach())
    assert found < 1e-5


def test_without_head_epochs_fine_tuning_starts_from_the_probe(session):
    def first(config: TrialConfig):
        return run_trial(config, session).records[0]

    probed, drawn = first(LP_FT), first(with_values(LP_FT, {"head_phase.init": "random"}))
    assert probed.phase == "depth"
    assert probed.train_loss < drawn.train_loss
    context = session.prepare(LP_FT)
    start_from_linear_probe(context)
    train = context.split.train
    with torch.no_grad():
        logits = context.model.net.eval()(context.views.normalize(context.views.plain(train)))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(context.grades[train]))
    assert probed.train_loss == pytest.approx(float(loss), rel=1e-4)


def test_a_classifier_that_is_no_linear_layer_over_vectors_is_refused(session, monkeypatch):
    context = session.prepare(LP_FT)
    monkeypatch.setattr("drft.training.linear_probe.frozen_features", lambda _context, _part: torch.zeros(38, 8, 2, 2))
    with pytest.raises(BackboneError, match=r"^head_phase.init: the classifier of test_resnet"):
        start_from_linear_probe(context)
