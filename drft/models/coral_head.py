"""The weight sharing of CORAL: one score for all grades, with a threshold for each grade above the first."""

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from drft.errors import BackboneError
from drft.models.blocks import head_modules

_THRESHOLD_DISTANCE = 2.0
"""Initial distance of neighbouring thresholds, in log-odds."""


class CoralHead:
    """CORAL's weight sharing (Cao, Mirjalili & Raschka 2020) in a classifier with one output per grade.

    While it is turned on, the first output is the score. The weights of the other outputs stay zero, so that their
    biases are the thresholds. The classifier keeps its shape, so optimizers, averages and checkpoints need no change.
    """

    def __init__(self, net: nn.Module) -> None:
        self._net = net
        self._hook: RemovableHandle | None = None

    def turn_off(self) -> None:
        """Train all weights of the classifier."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    @torch.no_grad()
    def turn_on(self) -> None:
        """Share the score. The thresholds start at distances of 2, symmetric around a score of 0.

        Where neighbouring thresholds are closer than log 3 (with three grades, 2 log 2), the second and the last but
        one grade are the most probable at no score. An optimizer whose steps are about as large as the learning rate
        hardly separates the thresholds in a short training. The authors' library starts with the closer thresholds
        (K - 1 .. 1) / (K - 1), and predicts the median.

        Raises:
            BackboneError: when the classifier is not one layer with weights and biases.
        """
        head, *others = head_modules(self._net)
        weight, bias = getattr(head, "weight", None), getattr(head, "bias", None)
        if others or not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
            raise BackboneError(
                "loss.kind: coral needs one classifier with weights and biases, and that of "
                f"{type(self._net).__name__} is another one: choose corn, or another backbone"
            )
        classes = len(bias)
        thresholds = [_THRESHOLD_DISTANCE * (classes / 2 - grade) for grade in range(1, classes)]
        weight[1:] = 0
        bias.copy_(torch.tensor([0.0, *thresholds]))
        weight.requires_grad_()
        self._hook = weight.register_hook(_first_row_only)  # type: ignore[no-untyped-call]


def _first_row_only(gradient: Tensor) -> Tensor:
    """Return the gradient with zeros in all rows but the first."""
    # Not a product with a mask: that would turn an infinite gradient of the other rows into NaN.
    result = torch.zeros_like(gradient)
    result[:1] = gradient[:1]
    return result
