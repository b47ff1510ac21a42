import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from drft.feature_cache.depthwise_conv import DepthwiseConv, convolution_gradients


def step(net: nn.Module, activations: Tensor) -> list[Tensor]:
    """Return the output and the gradients of one forward and backward pass."""
    activations = activations.clone().requires_grad_()
    net.zero_grad(set_to_none=True)
    output = net(activations)
    weighting = torch.linspace(0.5, 1.5, output.numel()).view_as(output)
    (output * weighting).sum().backward()
    return [output.detach(), activations.grad, *(parameter.grad for parameter in net.parameters())]


def has_own_gradient(output: Tensor) -> bool:
    return type(output.grad_fn).__name__ == "_DepthwiseConvFunctionBackward"


@st.composite
def depthwise(draw: st.DrawFn) -> tuple[nn.Conv2d, Tensor]:
    """Draw a depthwise convolution with a wide kernel, and activations for it."""
    channels, kernel = draw(st.integers(2, 20)), (draw(st.integers(1, 7)), draw(st.integers(4, 9)))
    torch.manual_seed(draw(st.integers(0, 99)))
    conv = nn.Conv2d(
        channels,
        channels,
        kernel,
        stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        padding=tuple(draw(st.integers(0, side // 2)) for side in kernel),
        groups=channels,
        bias=draw(st.booleans()),
    )
    smallest = [max(1, side - 2 * pad) for side, pad in zip(kernel, conv.padding, strict=True)]
    sides = [draw(st.integers(least, least + 6)) for least in smallest]
    activations = torch.randn(draw(st.integers(1, 3)), channels, *sides)
    layout = draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
    return conv, activations.contiguous(memory_format=layout)


@given(depthwise())
def test_outputs_and_gradients_equal_those_of_the_convolution(case):
    conv, activations = case
    assert has_own_gradient(DepthwiseConv(conv)(activations))
    for result, expected in zip(step(DepthwiseConv(conv), activations), step(conv, activations), strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


@given(depthwise())
def test_gradients_equal_those_in_double_precision(case):
    conv, activations = case
    output = conv(activations)
    gradient = torch.randn_like(output)
    results = convolution_gradients(gradient, activations, conv.weight, conv, [True, True, True])
    exact = torch.ops.aten.convolution_backward(
        gradient.double(), activations.double(), conv.weight.double(), [conv.out_channels], conv.stride, conv.padding,
        conv.dilation, False, [0, 0], conv.groups, [True, True, True],
    )  # fmt: skip
    for result, expected in zip(results, exact, strict=True):
        torch.testing.assert_close(result.double(), expected, rtol=1e-4, atol=1e-4)


def test_gradients_that_are_not_needed_are_not_computed():
    conv, activations = nn.Conv2d(4, 4, 5, groups=4), torch.randn(2, 4, 8, 8)
    gradient = torch.randn_like(conv(activations))
    for needed in ([True, False, False], [False, True, False], [False, False, True]):
        results = convolution_gradients(gradient, activations, conv.weight, conv, needed)
        assert [result is not None for result in results] == needed


def test_frozen_weights_and_other_precisions_take_the_usual_way():
    conv, activations = nn.Conv2d(4, 4, 5, groups=4), torch.randn(2, 4, 9, 9, requires_grad=True)
    net = DepthwiseConv(conv)
    assert has_own_gradient(net(activations))
    with torch.autocast("cpu", torch.bfloat16):
        assert not has_own_gradient(net(activations))
    with torch.no_grad():
        assert torch.equal(net(activations), conv(activations))
    conv.weight.requires_grad_(requires_grad=False)
    assert not has_own_gradient(net(activations))
