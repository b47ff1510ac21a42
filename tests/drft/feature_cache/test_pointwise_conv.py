import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from drft.feature_cache.pointwise_conv import PointwiseConv, replace_pointwise_convs


def step(net: nn.Module, activations: Tensor) -> list[Tensor]:
    """Return the output and the gradients of one forward and backward pass."""
    activations = activations.clone().requires_grad_()
    net.zero_grad(set_to_none=True)
    output = net(activations)
    output.square().sum().backward()
    return [output.detach(), activations.grad, *(parameter.grad for parameter in net.parameters())]


@given(
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([1, 2, 5]),
    st.booleans(),
    st.integers(0, 99),
)
def test_outputs_and_gradients_equal_those_of_the_convolution(count, channels, width, side, bias, seed):
    torch.manual_seed(seed)
    conv = nn.Conv2d(channels, width, 1, bias=bias)
    activations = torch.randn(count, channels, side, side)
    for result, expected in zip(step(PointwiseConv(conv), activations), step(conv, activations), strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("conv", "replaced"),
    [
        (nn.Conv2d(4, 4, 1), 1),
        (nn.Conv2d(4, 4, 1, padding="valid"), 1),
        (nn.Conv2d(4, 4, 3, padding=1), 0),
        (nn.Conv2d(4, 4, 1, stride=2), 0),
        (nn.Conv2d(4, 4, 1, groups=2), 0),
        (nn.Conv2d(4, 4, 1, padding=1), 0),
    ],
    ids=str,
)
def test_only_pointwise_convolutions_with_stride_1_are_replaced(conv, replaced):
    net = nn.Sequential(conv, nn.ReLU())
    traced = replace_pointwise_convs(fx.symbolic_trace(net))
    assert sum(isinstance(module, PointwiseConv) for module in traced.modules()) == replaced
    activations = torch.randn(2, 4, 1, 1)
    torch.testing.assert_close(traced(activations), net(activations))


def test_weights_are_shared_with_the_network():
    net = nn.Sequential(nn.Conv2d(2, 2, 1))
    traced = replace_pointwise_convs(fx.symbolic_trace(net))
    nn.init.zeros_(net[0].weight)
    nn.init.ones_(net[0].bias)
    assert torch.equal(traced(torch.randn(1, 2, 1, 1)), torch.ones(1, 2, 1, 1))
