import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from drft.feature_cache.pointwise_conv import PointwiseConv


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
