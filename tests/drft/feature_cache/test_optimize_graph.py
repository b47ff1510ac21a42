"""Which convolutions of a network are replaced by faster ones."""

import pytest
import torch
from torch import fx, nn

from drft.feature_cache.depthwise_conv import DepthwiseConv
from drft.feature_cache.network import optimize_graph
from drft.feature_cache.pointwise_conv import PointwiseConv


@pytest.mark.parametrize(
    ("conv", "faster"),
    [
        (nn.Conv2d(4, 4, 1), PointwiseConv),
        (nn.Conv2d(4, 4, 1, padding="valid"), PointwiseConv),
        (nn.Conv2d(4, 4, 3, padding=1), None),
        (nn.Conv2d(4, 4, 1, stride=2), None),
        (nn.Conv2d(4, 4, 1, groups=2), None),
        (nn.Conv2d(4, 4, 1, padding=1), None),
        (nn.Conv2d(4, 4, 5, padding=2, groups=4), DepthwiseConv),
        (nn.Conv2d(4, 4, (1, 7), groups=4, bias=False), DepthwiseConv),
        (nn.Conv2d(4, 4, 3, groups=4), None),
        (nn.Conv2d(4, 4, (7, 1), groups=4), None),
        (nn.Conv2d(4, 4, 5), None),
        (nn.Conv2d(4, 8, 5, groups=4), None),
        (nn.Conv2d(4, 4, 5, groups=2), None),
        (nn.Conv2d(4, 4, 5, groups=4, dilation=2), None),
        (nn.Conv2d(4, 4, 5, groups=4, padding="same"), None),
        (nn.Conv2d(4, 4, 5, groups=4, padding=2, padding_mode="reflect"), None),
    ],
    ids=str,
)
def test_only_some_convolutions_are_replaced_and_the_graph_computes_the_same(conv, faster):
    net = nn.Sequential(conv, nn.ReLU())
    traced = optimize_graph(fx.symbolic_trace(net))
    kinds = [type(module) for module in traced.modules() if isinstance(module, PointwiseConv | DepthwiseConv)]
    assert kinds == ([] if faster is None else [faster])
    fits_one_pixel = conv.kernel_size == (1, 1) or conv.padding == (1, 1)
    for side in (1, 9) if fits_one_pixel else (9,):
        activations = torch.randn(2, 4, side, side)
        torch.testing.assert_close(traced(activations), net(activations))


def test_weights_are_shared_with_the_network():
    net = nn.Sequential(nn.Conv2d(2, 2, 1))
    traced = optimize_graph(fx.symbolic_trace(net))
    nn.init.zeros_(net[0].weight)
    nn.init.ones_(net[0].bias)
    assert torch.equal(traced(torch.randn(1, 2, 1, 1)), torch.ones(1, 2, 1, 1))
