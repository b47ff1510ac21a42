"""StochNorm against its formula, on the norms of torch and of timm, whole and cut."""

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from drft.feature_cache.network import optimize_graph
from drft.feature_cache.split_model import split_model
from drft.models.blocks import train_mode
from drft.training.regularization.stoch_norm import frozen_statistics, stochastic_norms


def norm_of(kind: type[nn.BatchNorm2d]) -> nn.BatchNorm2d:
    norm = kind(32)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.normal_()
    return norm


def normalized(norm, images, mean, variance):
    scale, shape = norm.weight * torch.rsqrt(variance + norm.eps), (1, -1, 1, 1)
    found = (images - mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)
    return found.relu() if isinstance(norm, BatchNormAct2d) else found


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, BatchNormAct2d])
def test_each_channel_goes_by_the_batch_or_by_moving_statistics(kind):
    norm, images = norm_of(kind), torch.randn(4, 32, 3, 3)
    net = nn.Sequential(norm)
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    with stochastic_norms(net, 0.5):
        found = net(images)
    by_batch = normalized(norm, images, images.mean((0, 2, 3)), images.var((0, 2, 3), correction=0))
    by_moving = normalized(norm, images, mean, variance)
    is_moving = torch.isclose(found, by_moving, atol=1e-5).all(dim=3).all(dim=2).all(dim=0)
    is_batch = torch.isclose(found, by_batch, atol=1e-5).all(dim=3).all(dim=2).all(dim=0)
    assert (is_moving | is_batch).all()
    assert 4 < is_moving.sum() < 28
    assert 4 < is_batch.sum() < 28
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, 0.9 * mean + 0.1 * images.mean((0, 2, 3)))
    assert torch.allclose(net(images), by_batch, atol=1e-5), "the norm is as before"


def test_probability_1_goes_by_moving_statistics_and_evaluation_is_untouched():
    norm, images = norm_of(nn.BatchNorm2d), torch.randn(4, 32, 3, 3, requires_grad=True)
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    with stochastic_norms(nn.Sequential(norm), 1.0):
        found = norm(images)
        expected = normalized(norm, images, mean, variance)
        torch.testing.assert_close(found, expected)
        (gradient,) = torch.autograd.grad(found.square().sum(), images)
        torch.testing.assert_close(gradient, torch.autograd.grad(expected.square().sum(), images)[0])
        norm.eval()
        evaluated, generator = norm(images), torch.get_rng_state()
    assert torch.equal(evaluated, norm(images))
    assert torch.equal(generator, torch.get_rng_state())


def test_a_second_pass_of_one_batch_goes_by_the_statistics_of_the_first():
    norm, images = norm_of(nn.BatchNorm2d), torch.randn(4, 32, 3, 3)
    net = nn.Sequential(norm)
    with stochastic_norms(net, 1.0):
        first = net(images)
        with frozen_statistics(net):
            assert torch.equal(net(images), first)
        assert not torch.allclose(net(images), first)


def test_a_network_cut_before_acts_as_the_whole_one(resnet_and_chain):
    net, chain = resnet_and_chain
    images = torch.randn(4, 3, 32, 32)
    train_mode(net, 2)
    with stochastic_norms(net, 0.5), frozen_statistics(net):
        torch.manual_seed(1)
        whole = net(images)
        torch.manual_seed(1)
        part = chain.suffix(2, chain.advance((images,), None, [2])[2])
        other = chain.suffix(2, chain.advance((images,), None, [2])[2])
    torch.testing.assert_close(part, whole, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(other, part, rtol=1e-3, atol=1e-3)


@pytest.fixture
def resnet_and_chain():
    net = timm.create_model("test_resnet", num_classes=5).eval()
    return net, split_model(net, 32, optimize_graph)
