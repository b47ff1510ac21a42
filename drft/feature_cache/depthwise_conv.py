"""Depthwise convolutions with wide kernels, whose gradient is computed three columns of the kernel at a time.

oneDNN's fast routine for the gradient of depthwise weights takes kernels of up to three columns, no narrower than their
stride. It leaves wider ones to a routine that takes 8 to 30 times as long as the fast one for 3 x 3. But the gradient
of some columns is that of a narrower convolution over a shifted input. So the fast routine is called for a few columns
at a time, in a half to a sixth of the time (5 x 5 and 7 x 7, 64 to 960 channels, one CPU thread).
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FAST_COLUMNS = 3
"""Columns of the widest kernel that oneDNN's fast routine takes."""


class DepthwiseConv(nn.Module):
    """A depthwise convolution with a faster gradient.

    It uses the module of the network and has no tensors of its own.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, activations: Tensor) -> Tensor:
        """Return activations of shape (n, channels, height, width)."""
        return convolve(activations, self.conv)


def convolve(images: Tensor, conv: nn.Conv2d) -> Tensor:
    """Return what a convolution makes of activations (n, channels, height, width), with a faster gradient if it can.

    Args:
        images: the activations.
        conv: any convolution; one that is not depthwise with a wide kernel is called as it is.
    """
    trained = torch.is_grad_enabled() and conv.weight.requires_grad
    in_float32 = images.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if trained and is_wide_depthwise(conv) and in_float32 and uses_onednn(images):
        return cast("Tensor", _DepthwiseConvFunction.apply(images, conv.weight, conv.bias, conv))
    convolved: Tensor = conv(images)
    return convolved


def convolution_gradients(
    gradient: Tensor, images: Tensor, weight: Tensor, conv: nn.Conv2d, needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Return the gradients of input, weight and bias of a convolution on a CPU; None for those that are not needed.

    Args:
        gradient: of the output, (n, channels, height, width).
        images: the input.
        weight: the weights that convolved it; they may be others than those of ``conv``.
        conv: its stride, padding, dilation and groups are used.
        needed: for input, weight and bias, whether the gradient is needed.
    """
    of_images, of_weight, of_bias = needed
    if gradient.dtype == torch.bfloat16 and conv.groups > 1 and max(conv.stride) > 1 and of_images:
        # oneDNN has no bfloat16 kernel for this one gradient: its reference code takes 20 times as long as float32.
        gradients = convolution_gradients(gradient.float(), images.float(), weight.float(), conv, needed)
        return tuple(None if tensor is None else tensor.to(gradient.dtype) for tensor in gradients)
    in_parts = of_weight and is_wide_depthwise(conv)
    input_gradient, weight_gradient, _ = _gradients(
        gradient, images, weight, conv, conv.padding, (of_images, of_weight and not in_parts)
    )
    if in_parts:
        weight_gradient = _gradient_in_parts(gradient, images, weight, conv)
    # oneDNN adds up the bias in the slower of its loops: in a 5 x 5 kernel that is a third of the whole gradient.
    return input_gradient, weight_gradient, gradient.sum((0, 2, 3)) if of_bias else None


def is_wide_depthwise(conv: nn.Conv2d) -> bool:
    """Return whether a convolution is depthwise, with a kernel too wide for oneDNN's fast routine."""
    return (
        conv.groups == conv.in_channels == conv.out_channels
        and conv.groups > 1
        and conv.kernel_size[1] > _FAST_COLUMNS
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
    )


def uses_onednn(images: Tensor) -> bool:
    """Return whether torch convolves these activations with oneDNN."""
    return (
        images.device.type == "cpu"
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and bool(torch.backends.mkldnn.enabled)
    )


class _DepthwiseConvFunction(torch.autograd.Function):
    """A depthwise convolution with the gradient of ``convolution_gradients``."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, conv: nn.Conv2d) -> Tensor:
        ctx.conv = conv
        ctx.save_for_backward(images, weight)
        return F.conv2d(images, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        return (*convolution_gradients(gradients[0], images, weight, ctx.conv, ctx.needs_input_grad[:3]), None)


def _gradient_in_parts(gradient: Tensor, images: Tensor, weight: Tensor, conv: nn.Conv2d) -> Tensor:
    """Return the gradient of depthwise weights, computed for a few columns of the kernel at a time."""
    rows, columns = cast("tuple[int, int]", conv.padding)
    # The fast routine pads rows itself, unless the output has few of them.
    above = rows if gradient.shape[-2] <= 2 * rows else 0
    parts, first = [], 0
    for part in weight.tensor_split(-(-weight.shape[-1] // _FAST_COLUMNS), dim=-1):
        start = first - columns
        end = start + (gradient.shape[-1] - 1) * conv.stride[1] + part.shape[-1]
        if start < images.shape[-1] and end > 0:
            window = F.pad(images, (-start, end - images.shape[-1], above, above))  # negative padding cuts off
            parts.append(_gradients(gradient, window, part, conv, (rows - above, 0), (False, True))[1])
        else:  # these columns see nothing but padding
            parts.append(torch.zeros_like(part))
        first += part.shape[-1]
    return torch.cat(cast("list[Tensor]", parts), dim=-1)


def _gradients(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    conv: nn.Conv2d,
    padding: str | tuple[int, ...],
    needed: tuple[bool, bool],
) -> tuple[Tensor | None, ...]:
    result: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
        gradient, images, weight, None, conv.stride, padding, conv.dilation, False, [0, 0], conv.groups,
        [*needed, False],
    )  # fmt: skip
    return result
