"""Penalties: L2-SP pulls weights towards the pretrained ones, BSS suppresses weak directions of the features."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from drft.models.backbone import Model
from drft.models.blocks import head_modules, head_names


class L2SP:
    """The penalty ``alpha/2 · Σ ‖w - w₀‖²`` on the distance from the pretrained weights (L2-SP, Li et al. 2018).

    Args:
        model: the network. The head has no pretrained weights and no penalty.
        strength: alpha; 0 gives no penalty.
    """

    def __init__(self, model: Model, strength: float) -> None:
        self._strength = strength
        head = head_names(model.net)
        deep = {name: parameter for name, parameter in model.net.named_parameters() if name not in head}
        self._weights = {
            name: model.pretrained[name].to(parameter.device) for name, parameter in deep.items() if strength
        }

    def replace_weight_decay(self, groups: Iterable[dict[str, Any]]) -> None:
        """Set the weight decay of the blocks' parameter groups to 0, since decay pulls to 0 and not to ``w₀``."""
        for group in groups:
            if self._strength and not group["head"]:
                group["weight_decay"] = 0.0

    def penalty(self, trained: Mapping[str, Tensor]) -> Tensor | None:
        """Return the penalty on the trained parameters (by name); None when none of them has one."""
        squares = [(trained[name] - start).square().sum() for name, start in self._weights.items() if name in trained]
        return self._strength / 2 * torch.stack(squares).sum() if squares else None


def smallest_singular_value(features: Tensor) -> Tensor:
    """Return the smallest singular value of a batch's features; BSS (Chen et al. 2019, k = 1) adds its square.

    Args:
        features: shape (images, ...), flattened to one vector for each image.

    Returns:
        A scalar; NaN when a feature is not finite.
    """
    matrix = features.flatten(1).float()
    if not torch.isfinite(matrix).all():
        return (matrix * 0).sum()  # svdvals would raise; a NaN loss ends the training with its own message
    values: Tensor = torch.linalg.svdvals(matrix)
    return values[-1]


@contextlib.contextmanager
def classifier_inputs(net: nn.Module) -> Iterator[list[Tensor]]:
    """Yield a list to which every forward pass inside the block adds the input of the classifier, before dropout.

    Of two classifiers it is the mean of their inputs, as timm's features (``pre_logits``) are.
    """
    inputs: list[Tensor] = []
    heads, found = head_modules(net), []

    def record(_head: nn.Module, args: tuple[Tensor, ...]) -> None:
        found.append(args[0])
        if len(found) == len(heads):
            inputs.append(torch.stack(found).mean(0) if len(found) > 1 else found[0])
            found.clear()

    handles = [head.register_forward_pre_hook(record, prepend=True) for head in heads]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()
