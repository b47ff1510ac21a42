"""Batch norms with frozen statistics, folded into the convolution before them.

With frozen statistics, batch norm is an affine map per channel, so the pair is one convolution with scaled weights:
``g (conv(x, W) - m) / s + b = conv(x, W g / s) + b - m g / s`` (Jacob et al. 2018, section 3.2). The scale is applied
to the *weights* anew in every step: the same function with the same gradients for W, g and b, and no pass over
activations. Where statistics are those of the batch, the pair runs as it is written.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

_FUSED_ACTIVATIONS: dict[type[nn.Module], tuple[str, tuple[float, ...]]] = {
    nn.Identity: ("none", ()),
    nn.ReLU: ("relu", ()),
    nn.ReLU6: ("hardtanh", (0.0, 6.0)),
    nn.Hardswish: ("hardswish", ()),
    nn.SiLU: ("swish", ()),
}
"""Activations that oneDNN applies while it writes the convolution's output, by its name for them."""

_GRADIENT_FROM_OUTPUT = (nn.Identity, nn.ReLU, nn.ReLU6)
"""Activations whose gradient is known from their output, so that training may fuse them too."""


class FusedConv(nn.Module):
    """A convolution, its batch norm and maybe an activation, as one convolution where the statistics are frozen.

    It shares the modules it is made of and has no tensors of its own.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, activation: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.activation = activation
        self._known: tuple[tuple[int, ...], Tensor, Tensor] | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return activations of shape (n, channels, height, width)."""
        if self.norm.training:
            return self._as_written(self.conv(images))
        weight, bias = self._fold() if torch.is_grad_enabled() else self._fold_frozen()
        dtype = _compute_dtype(images)
        images, weight, bias = images.to(dtype), weight.to(dtype), bias.to(dtype)
        if not _has_fused_kernel(images):
            return self._activate(self._convolve(images, weight, bias))
        if not torch.is_grad_enabled():
            return _fused(images, weight, bias, self.conv, self.activation)
        fused = type(self.activation) in _GRADIENT_FROM_OUTPUT
        convolved = cast(
            "Tensor",
            _FusedConvFunction.apply(images, weight, bias, self.conv, self.activation if fused else nn.Identity()),
        )
        return convolved if fused else self._activate(convolved)

    def _as_written(self, convolved: Tensor) -> Tensor:
        normalized: Tensor = self.norm(convolved)
        return normalized if getattr(self.norm, "act", None) is self.activation else self._activate(normalized)

    def _activate(self, values: Tensor) -> Tensor:
        activated: Tensor = self.activation(values)
        return activated

    def _fold(self) -> tuple[Tensor, Tensor]:
        norm, conv = self.norm, self.conv
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        weight = conv.weight * scale.view(-1, 1, 1, 1)
        mean = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
        return weight, torch.addcmul(norm.bias, mean, scale, value=-1)

    def _fold_frozen(self) -> tuple[Tensor, Tensor]:
        """Fold, or return what was folded before if these modules are frozen and were not loaded anew since.

        Versions tell of loading but not of training: fused optimizers and batch norms do not count theirs up.
        """
        norm = self.norm
        tensors = (self.conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
        if any(tensor.requires_grad for tensor in tensors if tensor is not None):
            return self._fold()
        versions = tuple(tensor._version for tensor in tensors if tensor is not None)
        if self._known is None or self._known[0] != versions or self._known[1].device != self.conv.weight.device:
            self._known = (versions, *self._fold())
        return self._known[1:]

    def _convolve(self, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        conv = self.conv
        return F.conv2d(images, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def fold_batch_norms(traced: fx.GraphModule) -> fx.GraphModule:
    """Replace every convolution that only a batch norm reads, and the activation after it, by a ``FusedConv``.

    Args:
        traced: a traced network in which convolutions and norms are leaves; it is changed in place.

    Returns:
        The same graph module, recompiled.
    """
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and _folds(node, modules):
            _replace(traced, node, modules)
    traced.graph.lint()
    traced.recompile()
    return traced


def _folds(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    norm, before = modules[str(node.target)], node.args[0]
    return (
        isinstance(norm, nn.BatchNorm2d)
        and norm.affine
        and norm.running_var is not None
        and isinstance(getattr(norm, "drop", nn.Identity()), nn.Identity)
        and isinstance(before, fx.Node)
        and before.op == "call_module"
        and len(before.users) == 1
        and _is_plain(modules[str(before.target)])
    )


def _is_plain(module: nn.Module) -> bool:
    """Return whether a module is torch's own convolution: subclasses pad or scale in ways of their own."""
    return type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _replace(traced: fx.GraphModule, node: fx.Node, modules: dict[str, nn.Module]) -> None:
    before = cast("fx.Node", node.args[0])
    conv, norm = cast("nn.Conv2d", modules[str(before.target)]), cast("nn.BatchNorm2d", modules[str(node.target)])
    activation, last = getattr(norm, "act", nn.Identity()), node
    following = next(iter(node.users)) if len(node.users) == 1 else None
    if not hasattr(norm, "act") and following is not None and following.op == "call_module":
        candidate = modules[str(following.target)]
        if type(candidate) in _FUSED_ACTIVATIONS:
            activation, last = candidate, following
    name = f"folded_{node.name}"
    traced.add_submodule(name, FusedConv(conv, norm, activation))
    with traced.graph.inserting_after(last):
        folded = traced.graph.call_module(name, before.args)
    last.replace_all_uses_with(folded)
    for old in dict.fromkeys((last, node, before)):
        traced.graph.erase_node(old)


def _compute_dtype(images: Tensor) -> torch.dtype:
    kind = images.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else images.dtype


def _has_fused_kernel(images: Tensor) -> bool:
    """Return whether oneDNN has a convolution that applies bias and activation as it goes."""
    return (
        images.device.type == "cpu"
        and images.dtype in {torch.float32, torch.bfloat16}
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and bool(torch.backends.mkldnn.enabled)
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    )


def _fused(images: Tensor, weight: Tensor, bias: Tensor, conv: nn.Conv2d, activation: nn.Module) -> Tensor:
    known = _FUSED_ACTIVATIONS.get(type(activation))
    name, scalars = known or ("none", ())
    convolved: Tensor = torch.ops.mkldnn._convolution_pointwise(
        images, weight, bias, conv.padding, conv.stride, conv.dilation, conv.groups, name, list(scalars), ""
    )
    return convolved if known else cast("Tensor", activation(convolved))


class _FusedConvFunction(torch.autograd.Function):
    """The fused convolution with its gradient, for activations whose gradient is known from their output."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, conv: nn.Conv2d, activation: nn.Module
    ) -> Tensor:
        output = _fused(images, weight, bias, conv, activation)
        ctx.conv, ctx.activation = conv, type(activation)
        # Without an activation the output is not needed, and whoever reads it may overwrite it.
        ctx.save_for_backward(images, weight, None if isinstance(activation, nn.Identity) else output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, output = ctx.saved_tensors
        gradient = _through_activation(gradients[0], output, ctx.activation)
        wanted = ctx.needs_input_grad[:3]
        return (*_convolution_gradients(gradient, images, weight, ctx.conv, wanted), None, None)


def _through_activation(gradient: Tensor, output: Tensor | None, activation: type[nn.Module]) -> Tensor:
    if activation is nn.ReLU6:
        return cast("Tensor", torch.ops.aten.hardtanh_backward(gradient, output, 0.0, 6.0))
    if activation is nn.ReLU:
        return cast("Tensor", torch.ops.aten.threshold_backward(gradient, output, 0.0))
    return gradient


def _convolution_gradients(
    gradient: Tensor, images: Tensor, weight: Tensor, conv: nn.Conv2d, wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Return the gradients for input, weight and bias, each None unless wanted."""
    if gradient.dtype == torch.bfloat16 and conv.groups > 1 and max(conv.stride) > 1 and wanted[0]:
        # oneDNN has no bfloat16 kernel for this one gradient: its reference code is twenty times slower than float32.
        halves = _convolution_gradients(gradient.float(), images.float(), weight.float(), conv, wanted)
        return tuple(None if each is None else each.to(gradient.dtype) for each in halves)
    found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
        gradient, images, weight, [weight.shape[0]], conv.stride, conv.padding, conv.dilation, False, [0, 0],
        conv.groups, list(wanted),
    )  # fmt: skip
    return found
