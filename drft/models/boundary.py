"""The boundary of a network: where the frozen prefix ends and the trained suffix begins.

With a frozen prefix, its activations are pure functions of the picture, so they can be computed once and
kept. At depth 0 the boundary lies between the pooled features and the classifier with its dropout.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drft.models.backbone import pretrained_cfg
from drft.models.blocks import head_module

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Boundary:
    """A network in two parts: ``suffix(prefix(x)) == net(x)``."""

    prefix: Callable[[Tensor], Tensor]
    """The frozen part, always evaluated in evaluation mode; the identity when ``splits`` is False."""
    suffix: Callable[[Tensor], Tensor]
    """The trained part, in the mode the network is in."""
    splits: bool
    """Whether the prefix does any work, so that keeping its activations pays."""


def split(net: nn.Module, depth: int) -> Boundary:
    """Split a network built by ``build_model`` where a training of this depth begins.

    Depths above 0 have an empty prefix. The split is checked once against the whole network on a noise picture;
    where the check fails the whole network is the suffix, and the log says so.
    """
    whole = Boundary(prefix=_identity, suffix=net, splits=False)
    if depth > 0:
        return whole
    before_head = Boundary(prefix=_Features(net), suffix=_Head(net), splits=True)
    if _agrees(net, before_head):
        return before_head
    _log.warning("%s computes after its classifier: its head phase runs the whole network", type(net).__name__)
    return whole


def head_dropout(net: nn.Module) -> float:
    """Return the dropout rate before the classifier, where timm keeps it: a module or ``drop_rate``."""
    for name in ("head_drop", "head.drop", "head.head_dropout"):
        with contextlib.suppress(AttributeError):
            module = net.get_submodule(name)
            if isinstance(module, nn.Dropout):
                return module.p
    return float(getattr(net, "drop_rate", 0.0))


class _Features:
    """Computes what the classifier sees, without dropout, whatever mode the network is in."""

    def __init__(self, net: nn.Module) -> None:
        self._net = net

    def __call__(self, pictures: Tensor) -> Tensor:
        seen: list[Tensor] = []
        hook = head_module(self._net).register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
        try:
            with _evaluation_mode(self._net), torch.no_grad():
                self._net(pictures)
        finally:
            hook.remove()
        return seen[-1]


class _Head:
    """Dropout and classifier."""

    def __init__(self, net: nn.Module) -> None:
        self._classifier = head_module(net)
        self._dropout = head_dropout(net)

    def __call__(self, features: Tensor) -> Tensor:
        dropped = F.dropout(features, self._dropout, training=self._classifier.training)
        logits: Tensor = self._classifier(dropped)
        return logits


def _identity(pictures: Tensor) -> Tensor:
    return pictures


def _agrees(net: nn.Module, boundary: Boundary) -> bool:
    example = next(net.parameters())
    size = pretrained_cfg(net)["input_size"]
    noise = torch.randn(2, *size, generator=torch.Generator().manual_seed(0)).to(example.device, example.dtype)
    with _evaluation_mode(net), torch.no_grad():
        return torch.allclose(boundary.suffix(boundary.prefix(noise)), net(noise), rtol=1e-4, atol=1e-5)


@contextlib.contextmanager
def _evaluation_mode(net: nn.Module) -> Iterator[None]:
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
