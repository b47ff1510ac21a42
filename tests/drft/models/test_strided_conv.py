import copy

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from drft.config.trial_config import BackboneConfig, TrialConfig
from drft.models.backbone import build_model
from drft.models.strided_conv import StridedPointwiseConv, replace_strided_pointwise_convs


def step(net: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the output and the gradients of one forward and backward pass."""
    images = images.clone().requires_grad_()
    output = net(images)
    output.square().sum().backward()
    return [output.detach(), images.grad, *(parameter.grad for parameter in net.parameters())]


@given(
    st.integers(1, 3), st.integers(1, 15), st.integers(1, 15), st.integers(3, 9), st.integers(2, 3), st.booleans(),
    st.integers(0, 99),
)  # fmt: skip
def test_outputs_and_gradients_equal_those_of_the_convolution(count, channels, width, side, stride, bias, seed):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(channels, width, 1, stride=stride, bias=bias))
    other = copy.deepcopy(net)
    replace_strided_pointwise_convs(other)
    images = torch.randn(count, channels, side, side).contiguous(memory_format=torch.channels_last)
    # oneDNN does not compute in double precision; in single precision the original convolution could crash.
    expected = step(net.double(), images.double())
    for result, wanted in zip(step(other, images), expected, strict=True):
        torch.testing.assert_close(result.double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("conv", "replaced"),
    [
        (nn.Conv2d(3, 16, 1, stride=2), True),
        (nn.Conv2d(15, 16, 1, stride=(1, 2), padding="valid"), True),
        (nn.Conv2d(16, 24, 1, stride=2), False),
        (nn.Conv2d(3, 24, 1), False),
        (nn.Conv2d(3, 24, 3, stride=2), False),
        (nn.Conv2d(24, 24, 1, stride=2, groups=24), False),
        (nn.Conv2d(3, 24, 1, stride=2, padding=1), False),
    ],
    ids=str,
)
def test_only_affected_convolutions_are_replaced(conv, replaced):
    net = nn.Sequential(conv)
    replace_strided_pointwise_convs(net)
    assert isinstance(net[0], StridedPointwiseConv) == replaced
    assert net[0].weight is conv.weight
    assert net[0].bias is conv.bias


def test_a_module_with_two_names_is_replaced_by_one():
    net = nn.ModuleDict({"one": nn.Conv2d(3, 8, 1, stride=2)})
    net["other"] = net["one"]
    replace_strided_pointwise_convs(net)
    assert isinstance(net["one"], StridedPointwiseConv)
    assert net["other"] is net["one"]


def test_backbones_are_built_with_it_and_keep_names_and_outputs():
    config = TrialConfig(backbone=BackboneConfig(name="repvgg_a0", weights="none"), image_size=64)
    net = build_model(config, classes=5).net.eval()
    assert sum(isinstance(module, StridedPointwiseConv) for module in net.modules()) == 1
    plain = timm.create_model("repvgg_a0", num_classes=5).eval()
    plain.load_state_dict(net.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(net(images), plain(images), rtol=1e-4, atol=1e-5)
