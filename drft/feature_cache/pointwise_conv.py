"""Convolutions over a single pixel as the matrix products they are.

Squeeze-and-excitation (Hu et al. 2018) convolves pooled activations of one pixel with kernels of one pixel. A
convolution routine prepares itself for images in every call; for these small ones that takes most of its time.
"""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, fx, nn

from drft.models.strided_conv import is_pointwise


class PointwiseConv(nn.Module):
    """A convolution with kernels of one pixel, as a matrix product where the input has one pixel.

    It shares the module it is made of and has no tensors of its own.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, activations: Tensor) -> Tensor:
        """Return activations of shape (n, channels, height, width)."""
        if activations.shape[-2:] == (1, 1):
            return F.linear(activations.flatten(1), self.conv.weight.flatten(1), self.conv.bias)[..., None, None]
        return cast("Tensor", self.conv(activations))


def replace_point_convs(traced: fx.GraphModule) -> fx.GraphModule:
    """Replace every plain convolution with kernels of one pixel by a ``PointwiseConv``.

    Args:
        traced: a traced network in which convolutions are leaves; it is changed in place.

    Returns:
        The same graph module, recompiled.
    """
    for node in traced.graph.nodes:
        module = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        if type(module) is nn.Conv2d and is_pointwise(module) and module.stride == (1, 1):
            name = f"point_{node.name}"
            traced.add_submodule(name, PointwiseConv(module))
            node.target = name
    traced.recompile()
    return traced
