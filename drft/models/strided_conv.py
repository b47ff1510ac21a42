"""Pointwise convolutions with a stride: skip pixels first, then convolve.

The gradient that oneDNN computes for the weights of such a convolution writes past its workspace where images lie
channels-last and the input channels are fewer than fill its vectors (uxlfoundation/oneDNN, issue 6035): processes
crash, or weights come out wrong. The stems of RepVGG, MobileOne and FastViT are of that kind, with three channels.
"""

from torch import Tensor, nn
from torch.nn import functional as F

_CHANNELS = 16
"""The widest vector of float32 (AVX-512); others are filled by fewer."""


class StridedPointwiseConv(nn.Conv2d):
    """A pointwise convolution with a stride, computed with stride 1 over the pixels that it reads."""

    def __init__(self, conv: nn.Conv2d) -> None:
        rows, columns = conv.stride
        super().__init__(conv.in_channels, conv.out_channels, 1, (rows, columns), bias=False, device="meta")
        self.weight = conv.weight
        self.bias = conv.bias

    def forward(self, images: Tensor) -> Tensor:
        """Return activations of shape (n, channels, height / stride, width / stride), rounded up."""
        rows, columns = self.stride
        return F.conv2d(images[..., ::rows, ::columns], self.weight, self.bias)


def replace_strided_point_convs(net: nn.Module) -> None:
    """Replace, in place, every convolution whose gradient oneDNN gets wrong; parameters and their names stay."""
    replaced: dict[nn.Module, nn.Module] = {}  # one module may have several names
    for name, module in list(net.named_modules(remove_duplicate=False)):
        if type(module) is nn.Conv2d and _is_at_risk(module):
            net.set_submodule(name, replaced.setdefault(module, StridedPointwiseConv(module)))


def _is_at_risk(conv: nn.Conv2d) -> bool:
    return is_pointwise(conv) and max(conv.stride) > 1 and conv.in_channels < _CHANNELS


def is_pointwise(conv: nn.Conv2d) -> bool:
    """Return whether each output pixel is computed from all channels of one input pixel."""
    return conv.kernel_size == (1, 1) and conv.groups == 1 and conv.padding in {(0, 0), "valid"}
