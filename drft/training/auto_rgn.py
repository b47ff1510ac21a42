"""Auto-RGN (Lee et al. 2023, "Surgical fine-tuning improves adaptation to distribution shifts"): layer-wise rates.

The learning rate of a layer is proportional to its relative gradient norm ``|g| / |w|``; the layer with the largest has
the full rate. As in the authors' code, the norms are measured before every epoch, as means over its first five batches.
Differences from their code:

- They measure single tensors and train no batch norms. Here a layer (a convolution, a norm) is measured as a whole,
  since pretrained biases are often zero, which makes their relative gradient unbounded.
- They scale the head too, and it can have the maximum. Here the head keeps its rate and does not count.
- They measure in training mode; here the network is in evaluation mode.
- They create a new optimizer for every epoch; here its state is kept.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

BATCHES = 5
"""Number of batches that the norms are measured on."""


def relative_gradient_norms(groups: Sequence[Mapping[str, Any]], losses: Iterable[Tensor]) -> dict[str, float]:
    """Return the relative gradient norm of every layer as a share of the largest, from 0 to 1.

    Layers that are frozen or all zero are left out. All are NaN when a gradient is not finite.

    Args:
        groups: of an optimizer, as ``parameter_groups`` returns them by layer.
        losses: of some batches; the norms are means over them. A common factor (of a loss scaler) cancels out.
    """
    layers = _layers(groups)
    ratios = [_ratios(layers, loss) for loss in losses] if layers else []
    means = {layer: sum(ratio[layer] for ratio in ratios) / len(ratios) for layer in layers}
    if not all(map(math.isfinite, means.values())):
        return dict.fromkeys(layers, math.nan)
    largest = max(means.values(), default=0.0)
    return {layer: mean / largest for layer, mean in means.items()} if largest > 0 else {}


def _layers(groups: Sequence[Mapping[str, Any]]) -> dict[str, list[nn.Parameter]]:
    layers: dict[str, list[nn.Parameter]] = {}
    for group in groups:
        trained = [parameter for parameter in group["params"] if parameter.requires_grad]
        if group["layer"] and trained:
            layers.setdefault(group["layer"], []).extend(trained)
    return {layer: parameters for layer, parameters in layers.items() if get_total_norm(parameters) > 0}


def _ratios(layers: Mapping[str, list[nn.Parameter]], loss: Tensor) -> dict[str, float]:
    parameters = list(chain.from_iterable(layers.values()))
    gradients = iter(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))
    return {
        layer: float(get_total_norm([next(gradients) for _ in own]) / get_total_norm(own))
        for layer, own in layers.items()
    }
