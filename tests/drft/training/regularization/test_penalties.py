"""Penalties against their formulas."""

import numpy as np
import pytest
import torch

from drft.config.trial_config import parse_config
from drft.models.backbone import build_model
from drft.models.blocks import head_names
from drft.training.regularization.penalties import L2SP, classifier_inputs, smallest_singular_value


@pytest.fixture(scope="module")
def model():
    values = {"image_size": 32, "dropout": 0.9, "backbone": {"name": "test_resnet", "weights": "none"}}
    return build_model(parse_config(values))


def test_the_pull_is_half_the_squared_distance_from_the_pretrained_weights(model):
    last = model.blocks[-1].parameters
    moved = {name: model.net.get_parameter(name).detach() + 0.5 for name in last}
    for tensor in moved.values():
        tensor.requires_grad_()
    penalty = L2SP(model, 3.0).penalty({**moved, "fc.weight": torch.ones(5, 5)})
    assert penalty.item() == pytest.approx(3.0 / 2 * 0.25 * model.blocks[-1].size, rel=1e-5)
    penalty.backward()
    torch.testing.assert_close(moved[last[0]].grad, torch.full_like(moved[last[0]], 3.0 * 0.5))


def test_nothing_is_pulled_where_no_block_is_trained_or_the_strength_is_0(model):
    head = {name: model.net.get_parameter(name) for name in head_names(model.net)}
    assert L2SP(model, 3.0).penalty(head) is None
    assert L2SP(model, 0.0).penalty(dict(model.net.named_parameters())) is None


def test_the_pull_takes_the_place_of_the_weight_decay_of_blocks(model):
    def groups():
        return [{"head": True}, {"head": False}, {"head": False, "weight_decay": 0.1}]

    pulled, free = groups(), groups()
    L2SP(model, 3.0).replace_weight_decay(pulled)
    L2SP(model, 0.0).replace_weight_decay(free)
    assert pulled == [{"head": True}, *[{"head": False, "weight_decay": 0.0}] * 2]
    assert free == groups()


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (3, 2, 2)])
def test_shrinkage_is_the_square_of_the_smallest_singular_value(shape):
    features = torch.randn(shape, requires_grad=True)
    found = smallest_singular_value(features) ** 2
    left, values, right = np.linalg.svd(features.detach().flatten(1).numpy(), full_matrices=False)
    assert found.item() == pytest.approx(values[-1] ** 2, rel=1e-4)
    found.backward()
    slope = 2 * values[-1] * np.outer(left[:, -1], right[-1])
    np.testing.assert_allclose(features.grad.flatten(1).numpy(), slope, rtol=1e-3, atol=1e-4)


def test_features_that_are_not_finite_say_so_in_the_loss():
    assert smallest_singular_value(torch.tensor([[1.0, np.inf], [0.0, 1.0]])).isnan()


def test_the_inputs_of_the_classifier_are_seen_before_dropout(model):
    net, images = model.net.eval(), torch.randn(4, 3, 32, 32)
    head = net.get_classifier()
    with classifier_inputs(net) as seen:
        evaluated = net(images)
        head.train()
        dropped = net(images)
    net(images)
    assert not torch.allclose(dropped, evaluated)
    assert len(seen) == 2
    assert torch.equal(seen[0], seen[1])
    torch.testing.assert_close(head.eval()(seen[0]), evaluated)


def test_the_features_of_two_heads_are_the_mean_of_their_inputs():
    values = {"backbone": {"name": "deit_tiny_distilled_patch16_224", "weights": "none"}, "image_size": 64}
    net = build_model(parse_config(values)).net.eval()
    images = torch.randn(2, 3, 64, 64)
    with classifier_inputs(net) as inputs, torch.no_grad():
        net(images)
        net(images)
    expected = net.forward_head(net.forward_features(images), pre_logits=True)
    assert len(inputs) == 2
    assert all(torch.equal(found, expected) for found in inputs)
