"""Training losses: cross-entropy, focal loss, and ordinal losses (CORAL, CORN, expected grade)."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from drft.config.trial_config import LossConfig, LossKind
from drft.models.probabilities import coral_logits, expected_grades

_LEAST = 1e-12
"""Smallest 1 - p: at 0 the gradient of its power below 1 would be infinite."""


def class_weights(grades: NDArray[np.int64], classes: int, config: LossConfig) -> NDArray[np.float32]:
    """Return the weight of each class in the loss, shape (classes,), with mean 1 over the images.

    ``balanced`` weights a class by n / (classes · n_class) (King & Zeng 2001), ``sqrt`` by the square root of that,
    ``effective_number`` by (1 - beta) / (1 - beta^n_class) (Cui et al. 2019), ``none`` by 1. A class without images has
    weight 0. The loss of a batch is divided by the sum of its weights, as in torch; Cui et al. divide by its images.
    """
    counts = np.bincount(grades, minlength=classes).astype(np.float64)
    occurring = np.maximum(counts, 1)
    if config.class_weighting == "effective_number":
        weights = (1 - config.effective_beta) / (1 - config.effective_beta**occurring)
    else:
        weights = occurring ** -{"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[config.class_weighting]
    weights = np.where(counts > 0, weights, 0.0)
    return np.asarray(weights * counts.sum() / (weights * counts).sum(), dtype=np.float32)


class TrainingLoss(nn.Module):
    """The weighted mean loss of a batch: the sum of the images' losses over the sum of their shares.

    Args:
        weight: weight of each class, shape (classes,).
    """

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, outputs: Tensor, grades: Tensor) -> Tensor:
        """Return the mean loss.

        Args:
            outputs: outputs of the network, shape (images, classes).
            grades: true classes, shape (images,).
        """
        raise NotImplementedError

    def share(self, grades: Tensor) -> Tensor:
        """Return the divisor of the mean loss over images of these classes, to combine means of parts of a batch."""
        return self.weight[grades].sum()


class CrossEntropyLoss(TrainingLoss):
    """Weighted cross-entropy with label smoothing (Szegedy et al. 2016)."""

    def __init__(self, weight: Tensor, label_smoothing: float) -> None:
        super().__init__(weight)
        self._smoothing = label_smoothing

    def forward(self, outputs: Tensor, grades: Tensor) -> Tensor:
        """Return the mean loss in nats; see ``TrainingLoss``."""
        return F.cross_entropy(outputs, grades, self.weight, label_smoothing=self._smoothing)


class FocalLoss(TrainingLoss):
    """Focal loss (Lin et al. 2017): every term of the cross-entropy times (1 - p)^gamma.

    With label smoothing every class has a term. With gamma 0 it is the cross-entropy.
    """

    def __init__(self, weight: Tensor, label_smoothing: float, gamma: float) -> None:
        super().__init__(weight)
        self._smoothing = label_smoothing
        self._gamma = gamma

    def forward(self, outputs: Tensor, grades: Tensor) -> Tensor:
        """Return the mean loss; see ``TrainingLoss``."""
        log_p = outputs.log_softmax(dim=1)
        one_minus_p = (-torch.expm1(log_p)).clamp(min=_LEAST)
        terms = -self.weight * log_p * one_minus_p**self._gamma
        true = terms.gather(1, grades[:, None]).sum()
        smoothed = (1 - self._smoothing) * true + self._smoothing * terms.mean(dim=1).sum()
        return smoothed / self.share(grades)


class CoralLoss(TrainingLoss):
    """CORAL (Cao et al. 2020): binary cross-entropies of P(grade >= k) for every grade but the lowest."""

    def forward(self, outputs: Tensor, grades: Tensor) -> Tensor:
        """Return the mean over images of the sum over grades; see ``TrainingLoss``."""
        logits = coral_logits(outputs)
        reached = (grades[:, None] > torch.arange(logits.shape[1], device=grades.device)).to(logits.dtype)
        losses = F.binary_cross_entropy_with_logits(logits, reached, reduction="none").sum(dim=1)
        return (self.weight[grades] * losses).sum() / self.share(grades)


class CornLoss(TrainingLoss):
    """CORN (Shi et al. 2023): binary cross-entropies of P(grade > k), over the images of grade k or higher."""

    def forward(self, outputs: Tensor, grades: Tensor) -> Tensor:
        """Return the mean over all binary terms of all images; see ``TrainingLoss``."""
        logits = outputs[:, :-1]
        grade = torch.arange(logits.shape[1], device=grades.device)
        further = (grades[:, None] > grade).to(logits.dtype)
        losses = F.binary_cross_entropy_with_logits(logits, further, reduction="none")
        weights = self.weight[grades][:, None] * (grades[:, None] >= grade)
        return (weights * losses).sum() / self.share(grades)

    def share(self, grades: Tensor) -> Tensor:
        """Return the weighted number of binary terms that images of these grades have."""
        return (self.weight[grades] * (grades + 1).clamp(max=len(self.weight) - 1)).sum()


class ExpectedGradeLoss(TrainingLoss):
    """Squared error of the expected grade (Beckham & Pal 2016)."""

    def forward(self, outputs: Tensor, grades: Tensor) -> Tensor:
        """Return the mean squared error, in grades; see ``TrainingLoss``."""
        return (self.weight[grades] * (expected_grades(outputs) - grades) ** 2).sum() / self.share(grades)


_ORDINAL: Mapping[LossKind, type[TrainingLoss]] = {
    "coral": CoralLoss,
    "corn": CornLoss,
    "expected_grade": ExpectedGradeLoss,
}


def training_loss(config: LossConfig, grades: NDArray[np.int64], classes: int) -> TrainingLoss:
    """Return the training loss; ``grades`` are those of the whole training part and set the class weights."""
    weight = torch.from_numpy(class_weights(grades, classes, config))
    if config.kind != "cross_entropy":
        return _ORDINAL[config.kind](weight)
    if config.focal_gamma:
        return FocalLoss(weight, config.label_smoothing, config.focal_gamma)
    return CrossEntropyLoss(weight, config.label_smoothing)
