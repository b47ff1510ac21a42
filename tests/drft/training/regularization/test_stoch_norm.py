"""StochNorm against its formula, on the norms of torch and of timm, whole and cut."""

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from drft.feature_cache.network import _faster
from drft.feature_cache.split_model import split_model
from drft.models.blocks import train_mode
from drft.training.regularization.stoch_norm import still_statistics, stochastic_norms


def norm_of(kind: type[nn.BatchNorm2d]) -> nn.BatchNorm2d:
    norm = kind(32)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.normal_()
    return norm


def normalized(norm, pictures, mean, variance):
    scale, shape = norm.weight * torch.rsqrt(variance + norm.eps), (1, -1, 1, 1)
    found = (pictures - mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)
    return found.relu() if isinstance(norm, BatchNormAct2d) else found


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, BatchNormAct2d])
def test_each_channel_goes_by_the_batch_or_by_moving_statistics(kind):
    norm, pictures = norm_of(kind), torch.randn(4, 32, 3, 3)
    net = nn.Sequential(norm)
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    with stochastic_norms(net, 0.5):
        found = net(pictures)
    by_batch = normalized(norm, pictures, pictures.mean((0, 2, 3)), pictures.var((0, 2, 3), correction=0))
    by_moving = normalized(norm, pictures, mean, variance)
    is_moving = torch.isclose(found, by_moving, atol=1e-5).all(dim=3).all(dim=2).all(dim=0)
    is_batch = torch.isclose(found, by_batch, atol=1e-5).all(dim=3).all(dim=2).all(dim=0)
    assert (is_moving | is_batch).all()
    assert 4 < is_moving.sum() < 28
    assert 4 < is_batch.sum() < 28
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, 0.9 * mean + 0.1 * pictures.mean((0, 2, 3)))
    assert torch.allclose(net(pictures), by_batch, atol=1e-5), "the norm is as before"


def test_probability_1_goes_by_moving_statistics_and_evaluation_is_untouched():
    norm, pictures = norm_of(nn.BatchNorm2d), torch.randn(4, 32, 3, 3, requires_grad=True)
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    with stochastic_norms(nn.Sequential(norm), 1.0):
        found = norm(pictures)
        expected = normalized(norm, pictures, mean, variance)
        torch.testing.assert_close(found, expected)
        (gradient,) = torch.autograd.grad(found.square().sum(), pictures)
        torch.testing.assert_close(gradient, torch.autograd.grad(expected.square().sum(), pictures)[0])
        norm.eval()
        evaluated, generator = norm(pictures), torch.get_rng_state()
    assert torch.equal(evaluated, norm(pictures))
    assert torch.equal(generator, torch.get_rng_state())


def test_a_second_pass_of_one_batch_goes_by_the_statistics_of_the_first():
    norm, pictures = norm_of(nn.BatchNorm2d), torch.randn(4, 32, 3, 3)
    net = nn.Sequential(norm)
    with stochastic_norms(net, 1.0):
        first = net(pictures)
        with still_statistics(net):
            assert torch.equal(net(pictures), first)
        assert not torch.allclose(net(pictures), first)


def test_a_network_cut_before_acts_as_the_whole_one(resnet_and_chain):
    net, chain = resnet_and_chain
    pictures = torch.randn(4, 3, 32, 32)
    train_mode(net, 2)
    with stochastic_norms(net, 0.5), still_statistics(net):
        torch.manual_seed(1)
        whole = net(pictures)
        torch.manual_seed(1)
        part = chain.suffix(2, chain.advance((pictures,), None, [2])[2])
        other = chain.suffix(2, chain.advance((pictures,), None, [2])[2])
    torch.testing.assert_close(part, whole, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(other, part, rtol=1e-3, atol=1e-3)


@pytest.fixture
def resnet_and_chain():
    net = timm.create_model("test_resnet", num_classes=5).eval()
    return net, split_model(net, 32, _faster)
