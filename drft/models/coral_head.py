"""A classifier with one score for all grades: weights for the first output, biases alone for the others."""

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from drft.errors import BackboneError
from drft.models.blocks import head_module

_APART = 2.0
"""Distance of neighbouring thresholds, in units of log-odds."""


class CoralHead:
    """CORAL's weight sharing (Cao, Mirjalili & Raschka 2020) in a classifier of as many outputs as there are grades.

    While it is on, the first output is the score, and the weights of the others are and stay zero: their biases are the
    thresholds. Shapes, optimizers, averages and checkpoints need not know of it.
    """

    def __init__(self, net: nn.Module) -> None:
        self._net = net
        self._hook: RemovableHandle | None = None

    def turn_off(self) -> None:
        """Let all weights be trained."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    @torch.no_grad()
    def turn_on(self) -> None:
        """Share the score; the thresholds start two apart from each other, around a score of 0.

        Where thresholds are closer than log 3 (of three grades, 2 log 2), the grades next to the ends are the most
        probable ones at no score at all, and an optimizer that moves a parameter by its learning rate in each step
        hardly parts them in a short training. The authors' library starts closer, with (K - 1 .. 1) / (K - 1), and
        predicts the median.

        Raises:
            BackboneError: when the classifier is not one layer with weights and biases.
        """
        head = head_module(self._net)
        weight, bias = getattr(head, "weight", None), getattr(head, "bias", None)
        if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
            raise BackboneError(
                f"loss.kind: coral needs a classifier with weights and biases, and that of {type(self._net).__name__} "
                "is another one: choose corn, or another backbone"
            )
        classes = len(bias)
        weight[1:] = 0
        bias.copy_(torch.tensor([0.0, *(_APART * (classes / 2 - grade) for grade in range(1, classes))]))
        weight.requires_grad_()
        self._hook = weight.register_hook(_first_row)  # type: ignore[no-untyped-call]


def _first_row(gradient: Tensor) -> Tensor:
    kept = torch.zeros_like(gradient)
    kept[:1] = gradient[:1]
    return kept
