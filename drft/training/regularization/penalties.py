"""What is added to the loss: a pull towards the pretrained weights, and a penalty on weak feature directions."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from drft.models.backbone import Model
from drft.models.blocks import head_module, head_names


class L2SP:
    """The pretrained weights, and how strongly trained ones are pulled back to them (L2-SP, Li et al. 2018).

    Args:
        model: the network; the head has no pretrained weights.
        strength: alpha of ``alpha/2 · Σ ‖w - w₀‖²``; 0 does nothing.
    """

    def __init__(self, model: Model, strength: float) -> None:
        self._strength = strength
        head = head_names(model.net)
        deep = {name: parameter for name, parameter in model.net.named_parameters() if name not in head}
        self._weights = {
            name: model.pretrained[name].to(parameter.device) for name, parameter in deep.items() if strength
        }

    def replace_decay(self, groups: Iterable[dict[str, Any]]) -> None:
        """Take the weight decay from the parameter groups of blocks: what is pulled here is not pulled to zero, too."""
        for group in groups:
            if self._strength and not group["head"]:
                group["weight_decay"] = 0.0

    def penalty(self, trained: Mapping[str, Tensor]) -> Tensor | None:
        """Return the penalty of the trained parameters, by name; None where nothing is pulled."""
        squares = [(trained[name] - start).square().sum() for name, start in self._weights.items() if name in trained]
        return self._strength / 2 * torch.stack(squares).sum() if squares else None


def weakest_direction(features: Tensor) -> Tensor:
    """Return the square of the smallest singular value of a batch's features (Chen et al. 2019, with k = 1).

    Args:
        features: shape (images, ...); each image's are taken as one vector. NaN where one is not finite.
    """
    matrix = features.flatten(1).float()
    if not torch.isfinite(matrix).all():
        return (matrix * 0).sum()  # the decomposition would raise; the loss has to tell of it
    values: Tensor = torch.linalg.svdvals(matrix)
    return values[-1].square()


@contextlib.contextmanager
def classifier_inputs(net: nn.Module) -> Iterator[list[Tensor]]:
    """Yield a list to which every forward pass within adds what came to the classifier, before dropout."""
    seen: list[Tensor] = []

    def note(_head: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0])

    handle = head_module(net).register_forward_pre_hook(note, prepend=True)
    try:
        yield seen
    finally:
        handle.remove()
