"""The training loss: what the optimizer makes smaller."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from drft.config.trial_config import LossConfig, LossKind
from drft.models.probabilities import coral_logits, expected_grades

_LEAST = 1e-12
"""Where 1 - p rounds to 0, a power of it below 1 has no finite slope."""


def class_weights(grades: NDArray[np.int64], classes: int, config: LossConfig) -> NDArray[np.float32]:
    """Return the weight of each grade in the loss, shape (classes,), with mean 1 over the images.

    ``balanced`` weighs a grade by n / (classes · n_grade) (King & Zeng 2001), ``sqrt`` by the square root of that,
    ``effective_number`` by (1 - beta) / (1 - beta^n_grade) (Cui et al. 2019), ``none`` by 1. A grade without
    images gets weight 0, since no image asks for it. A batch's loss is divided by the sum of its weights, as
    torch does it; Cui et al. divide by its images.
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
    """The mean loss of some images: the sum of what each one loses over the sum of their shares.

    Args:
        weight: weight of each grade, shape (classes,).
    """

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, outputs: Tensor, grades: Tensor) -> Tensor:
        """Return the mean loss.

        Args:
            outputs: of the network, shape (images, classes).
            grades: true grades, shape (images,).
        """
        raise NotImplementedError

    def share(self, grades: Tensor) -> Tensor:
        """Return what the mean over images of these grades divides by: so the means of parts are put together."""
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
    """Focal loss (Lin et al. 2017): each term of the cross-entropy times (1 - p)^gamma: what is sure counts less.

    With label smoothing every grade has its term, as in the cross-entropy that it is at gamma 0.
    """

    def __init__(self, weight: Tensor, label_smoothing: float, gamma: float) -> None:
        super().__init__(weight)
        self._smoothing = label_smoothing
        self._gamma = gamma

    def forward(self, outputs: Tensor, grades: Tensor) -> Tensor:
        """Return the mean loss; see ``TrainingLoss``."""
        log_p = outputs.log_softmax(dim=1)
        unsure = (-torch.expm1(log_p)).clamp(min=_LEAST)
        terms = -self.weight * log_p * unsure**self._gamma
        true = terms.gather(1, grades[:, None]).sum()
        smoothed = (1 - self._smoothing) * true + self._smoothing * terms.mean(dim=1).sum()
        return smoothed / self.share(grades)


class CoralLoss(TrainingLoss):
    """Binary cross-entropies of "is it this grade or more" for each grade but the first (Cao et al. 2020)."""

    def forward(self, outputs: Tensor, grades: Tensor) -> Tensor:
        """Return the mean over images of the sum over grades; see ``TrainingLoss``."""
        logits = coral_logits(outputs)
        reached = (grades[:, None] > torch.arange(logits.shape[1], device=grades.device)).to(logits.dtype)
        lost = F.binary_cross_entropy_with_logits(logits, reached, reduction="none").sum(dim=1)
        return (self.weight[grades] * lost).sum() / self.share(grades)


class CornLoss(TrainingLoss):
    """Binary cross-entropies of "is it more than this grade", of images that are it or more (Shi et al. 2023)."""

    def forward(self, outputs: Tensor, grades: Tensor) -> Tensor:
        """Return the mean over all such questions of all images; see ``TrainingLoss``."""
        logits = outputs[:, :-1]
        grade = torch.arange(logits.shape[1], device=grades.device)
        further = (grades[:, None] > grade).to(logits.dtype)
        lost = F.binary_cross_entropy_with_logits(logits, further, reduction="none")
        asked = self.weight[grades][:, None] * (grades[:, None] >= grade)
        return (asked * lost).sum() / self.share(grades)

    def share(self, grades: Tensor) -> Tensor:
        """Return how many questions images of these grades are asked, weighted."""
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
    """Return the training loss for images of these grades, the whole training part's."""
    weight = torch.from_numpy(class_weights(grades, classes, config))
    if config.kind != "cross_entropy":
        return _ORDINAL[config.kind](weight)
    if config.focal_gamma:
        return FocalLoss(weight, config.label_smoothing, config.focal_gamma)
    return CrossEntropyLoss(weight, config.label_smoothing)
