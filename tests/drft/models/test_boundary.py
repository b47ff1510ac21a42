import logging

import pytest
import timm
import torch

from drft.config import parse_config
from drft.models.backbone import build_model
from drft.models.blocks import head_module, train_mode
from drft.models.boundary import head_dropout, split

REAL_MODELS = [
    "resnet18",
    "mobilenetv2_100",
    "mobilenetv3_small_100",
    "efficientnet_b0",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "densenet121",
    "regnety_002",
]


def network(name: str, dropout: float = 0.5):
    values = {"backbone": {"name": name, "weights": "none"}, "image_size": 64, "dropout": dropout}
    return build_model(parse_config(values)).net


@pytest.mark.parametrize("name", [*timm.list_models("test_*"), *REAL_MODELS])
def test_suffix_after_prefix_is_the_network(name):
    net = network(name).eval()
    boundary = split(net, 0)
    pictures = torch.randn(2, 3, 64, 64)
    assert boundary.splits
    with torch.no_grad():
        torch.testing.assert_close(boundary.suffix(boundary.prefix(pictures)), net(pictures))


@pytest.mark.parametrize("name", [*timm.list_models("test_*"), *REAL_MODELS])
def test_head_dropout_is_what_timm_applies_before_the_classifier(name):
    net = network(name, dropout=0.999)
    assert head_dropout(net) == 0.999
    seen = []
    head_module(net).register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    train_mode(net, 0)
    with torch.no_grad():
        net(torch.randn(2, 3, 64, 64))
    assert (seen[0] == 0).float().mean() > 0.9


def test_prefix_ignores_the_training_mode_and_leaves_it_alone():
    net = network("test_resnet")
    boundary = split(net, 0)
    train_mode(net, 0)
    modes = {name: module.training for name, module in net.named_modules()}
    pictures = torch.randn(2, 3, 64, 64)
    features = boundary.prefix(pictures)
    assert torch.equal(features, boundary.prefix(pictures))
    assert not features.requires_grad
    assert {name: module.training for name, module in net.named_modules()} == modes


def test_suffix_drops_features_in_training_mode_only():
    net = network("test_resnet")
    suffix = split(net, 0).suffix
    features = torch.ones(2, 96)
    net.eval()
    assert torch.equal(suffix(features), suffix(features))
    train_mode(net, 0)
    assert not torch.equal(suffix(features), suffix(features))


def test_gradients_of_the_suffix_reach_the_head():
    net = network("test_convnext")
    boundary = split(net, 0)
    boundary.suffix(boundary.prefix(torch.randn(2, 3, 64, 64))).sum().backward()
    assert all(parameter.grad is not None for parameter in head_module(net).parameters())


def test_deeper_boundaries_leave_the_whole_network_to_the_suffix():
    net = network("test_resnet").eval()
    boundary = split(net, 1)
    pictures = torch.randn(2, 3, 64, 64)
    assert not boundary.splits
    assert boundary.prefix(pictures) is pictures
    assert torch.equal(boundary.suffix(pictures), net(pictures))


def test_network_that_computes_after_its_classifier_is_not_split(caplog):
    net = network("test_resnet").eval()
    net.register_forward_hook(lambda _module, _inputs, logits: 2 * logits)
    with caplog.at_level(logging.WARNING):
        boundary = split(net, 0)
    assert not boundary.splits
    assert "runs the whole network" in caplog.text
