"""Strided pointwise convolutions as a selection of pixels and a convolution with stride 1.

This works around a bug of oneDNN (uxlfoundation/oneDNN, issue 6035): its gradient for the weights of such a convolution
writes past its workspace where images are channels-last and the input channels do not fill its vectors, so processes
crash or weights become wrong. The stems of RepVGG, MobileOne and FastViT are such convolutions, with three channels.
"""

from torch import Tensor, nn
from torch.nn import functional as F

_VECTOR_WIDTH = 16
"""Float32 numbers in the widest vector (AVX-512); with this many input channels or more, every vector is filled."""


class StridedPointwiseConv(nn.Conv2d):
    """A strided pointwise convolution, computed with stride 1 over the pixels that it reads."""

    def __init__(self, conv: nn.Conv2d) -> None:
        rows, columns = conv.stride
        super().__init__(conv.in_channels, conv.out_channels, 1, (rows, columns), bias=False, device="meta")
        self.weight = conv.weight
        self.bias = conv.bias

    def forward(self, images: Tensor) -> Tensor:
        """Return activations of shape (n, channels, height / stride, width / stride), rounded up."""
        rows, columns = self.stride
        return F.conv2d(images[..., ::rows, ::columns], self.weight, self.bias)


def replace_strided_pointwise_convs(net: nn.Module) -> None:
    """Replace, in place, every convolution that the bug affects; parameters and their names stay the same."""
    replaced: dict[nn.Module, nn.Module] = {}  # one module may have several names
    for name, module in list(net.named_modules(remove_duplicate=False)):
        is_plain = type(module) is nn.Conv2d and is_pointwise(module)
        if is_plain and max(module.stride) > 1 and module.in_channels < _VECTOR_WIDTH:
            net.set_submodule(name, replaced.setdefault(module, StridedPointwiseConv(module)))


def is_pointwise(conv: nn.Conv2d) -> bool:
    """Return whether each output pixel depends on all channels of exactly one input pixel."""
    return conv.kernel_size == (1, 1) and conv.groups == 1 and conv.padding in {(0, 0), "valid"}
