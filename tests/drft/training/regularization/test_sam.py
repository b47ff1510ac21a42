"""Sharpness-aware minimization against the two passes written out."""

import pytest
import torch
from torch import nn

from drft.training.regularization.sam import sharpness_aware_gradient

RHO = 0.3


@pytest.fixture
def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


@pytest.fixture
def loss_of(net):
    images, grades = torch.randn(6, 3), torch.tensor([0, 1, 0, 1, 1, 0])

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(net(images), grades)

    return loss


def backward(loss_of, scale=1.0):
    loss = loss_of()
    (scale * loss).backward()
    return loss.detach()


def by_hand(net, loss_of):
    """Return the loss at w and the gradient at w + rho g / |g|, with the dropout of seed 3 in both passes."""
    parameters, buffers = list(net.parameters()), [buffer.clone() for buffer in net.buffers()]
    torch.manual_seed(3)
    loss = loss_of()
    gradient = torch.autograd.grad(loss, parameters)
    length = torch.cat([each.flatten() for each in gradient]).norm()
    with torch.no_grad():
        for parameter, each in zip(parameters, gradient, strict=True):
            parameter.add_(RHO * each / length)
    torch.manual_seed(3)
    sharp = torch.autograd.grad(loss_of(), parameters)
    with torch.no_grad():
        for parameter, each in zip(parameters, gradient, strict=True):
            parameter.sub_(RHO * each / length)
        for buffer, before in zip(net.buffers(), buffers, strict=True):
            buffer.copy_(before)
    return loss.detach(), sharp


@pytest.mark.parametrize("scale", [1.0, 2.0**16])
def test_the_gradient_is_that_of_the_sharpest_point_nearby(net, loss_of, scale):
    expected_loss, expected = by_hand(net, loss_of)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    torch.manual_seed(3)
    loss = sharpness_aware_gradient(lambda: backward(loss_of, scale), net.parameters(), net, RHO)
    torch.testing.assert_close(loss, expected_loss)
    torch.testing.assert_close(tuple(parameter.grad / scale for parameter in net.parameters()), expected)
    assert all(map(torch.equal, net.parameters(), before))


def test_statistics_move_in_the_first_pass_only(net, loss_of):
    norm = net[1]
    sharpness_aware_gradient(lambda: backward(loss_of), net.parameters(), net, RHO)
    found = [buffer.clone() for buffer in norm.buffers()]
    norm.reset_running_stats()
    loss_of()
    assert norm.num_batches_tracked == 1
    assert all(map(torch.equal, found, norm.buffers()))


def test_a_gradient_that_is_not_finite_is_left_for_the_scaler_to_see(net, loss_of):
    sharpness_aware_gradient(lambda: backward(loss_of, float("inf")), net.parameters(), net, RHO)
    assert not all(parameter.grad.isfinite().all() for parameter in net.parameters())
    assert all(tensor.isfinite().all() for tensor in net.state_dict().values())
