"""Class probabilities from the outputs of a network, one way for each kind of loss.

With every loss the head has one output per grade. All code after these modules uses log-probabilities only.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

from drft.config.trial_config import LossKind
from drft.models.qwk_thresholds import qwk_thresholds

PREFIX = "link."
"""Prefix of the names of these modules' tensors in a checkpoint; no network has such names."""

_MIN_DISTANCE = 1e-6
"""Smallest difference of neighbouring thresholds, so that no grade between two others has probability 0."""

_SPREADS = np.geomspace(0.02, 5.0, 45)


class ClassProbabilities(nn.Module):
    """Maps outputs to log-probabilities, both of shape (images, classes)."""

    def fit(self, outputs: Tensor, grades: Tensor) -> None:
        """Fit the parameters that the loss does not train, on the training part. By default there are none."""

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the natural logarithms of class probabilities."""
        raise NotImplementedError


class SoftmaxProbabilities(ClassProbabilities):
    """The probabilities of the cross-entropy."""

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the log-softmax."""
        return outputs.log_softmax(dim=1)


class CoralProbabilities(ClassProbabilities):
    """P(grade >= k) is the sigmoid of a score plus a threshold (Cao, Mirjalili & Raschka 2020).

    At the minimum of the loss the thresholds fall from grade to grade; before it they may not, and are sorted here. The
    paper predicts the median grade; here the most probable one is predicted, as with every loss.
    """

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the logarithms of the differences of neighbouring cumulative probabilities."""
        at_least = coral_logits(outputs).sort(dim=1, descending=True).values
        above, below = at_least[:, :-1], at_least[:, 1:]
        distance = (above - below).clamp(min=_MIN_DISTANCE)
        between = logsigmoid(above) + logsigmoid(-below) + torch.log(-torch.expm1(-distance))
        parts = [logsigmoid(-at_least[:, :1]), between, logsigmoid(at_least[:, -1:])]
        return torch.cat(parts, dim=1).log_softmax(dim=1)


class CornProbabilities(ClassProbabilities):
    """P(grade > k), given a grade of at least k, is the sigmoid of output k (Shi, Cao & Raschka 2023).

    The product of these up to k is P(grade > k), which always falls with k. The last output is not used. The paper
    predicts the median grade; here the most probable one is predicted, as with every loss.
    """

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the logarithms of the products of conditional probabilities."""
        exceeds = outputs[:, :-1]
        reached = torch.cat([torch.zeros_like(exceeds[:, :1]), logsigmoid(exceeds).cumsum(dim=1)], dim=1)
        stays = torch.cat([logsigmoid(-exceeds), torch.zeros_like(exceeds[:, :1])], dim=1)
        return reached + stays


class ExpectedGradeProbabilities(ClassProbabilities):
    """Thresholds on the expected grade; neighbouring grades are equally likely at the threshold between them.

    The odds of a grade against the grade below are exp((score - threshold) / spread), as for scores that are Gaussian
    in each grade with equal variances (adjacent categories, Agresti 2010). The most probable grade is therefore the one
    between whose thresholds the score lies. On the training part, the thresholds are those with the highest quadratic
    weighted kappa, and the spread is the most likely one of a grid.
    """

    thresholds: Tensor
    spread: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.arange(1, classes) - 0.5)
        self.register_buffer("spread", torch.tensor(1.0))

    def fit(self, outputs: Tensor, grades: Tensor) -> None:
        """Choose thresholds and spread on the training part."""
        scores, grades = expected_grades(outputs).double().cpu(), grades.cpu()
        thresholds = torch.from_numpy(qwk_thresholds(scores.numpy(), grades.numpy(), outputs.shape[1]))
        logits = _adjacent_logits(scores, thresholds, torch.tensor(1.0))
        losses = [float(cross_entropy(logits / spread, grades)) for spread in _SPREADS]
        self.thresholds.copy_(thresholds)
        self.spread.fill_(_SPREADS[int(np.argmin(losses))])

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the log-probabilities."""
        return _adjacent_logits(expected_grades(outputs), self.thresholds, self.spread).log_softmax(dim=1)


def coral_logits(outputs: Tensor) -> Tensor:
    """Return the logits of P(grade >= 1), P(grade >= 2), ...: the first output is the score, the others thresholds."""
    return outputs[:, :1] + outputs[:, 1:]


def expected_grades(outputs: Tensor) -> Tensor:
    """Return the expected grade under the softmax of the outputs, shape (images,)."""
    return outputs.softmax(dim=1) @ torch.arange(outputs.shape[1], device=outputs.device, dtype=outputs.dtype)


def make_probabilities(kind: LossKind, classes: int) -> ClassProbabilities:
    """Return the class probabilities of a kind of loss, not fitted yet."""
    if kind == "expected_grade":
        return ExpectedGradeProbabilities(classes)
    return {"cross_entropy": SoftmaxProbabilities, "coral": CoralProbabilities, "corn": CornProbabilities}[kind]()


def learned_tensors(probabilities: ClassProbabilities) -> dict[str, NDArray[np.generic]]:
    """Return copies of the fitted tensors by the names that they have in a checkpoint."""
    return {PREFIX + name: tensor.cpu().numpy().copy() for name, tensor in probabilities.state_dict().items()}


def _adjacent_logits(scores: Tensor, thresholds: Tensor, spread: Tensor) -> Tensor:
    """Return logits that grow by (score - threshold) / spread from each grade to the next, shape (images, classes)."""
    steps = (scores[:, None] - thresholds) / spread
    return torch.cat([torch.zeros_like(steps[:, :1]), steps.cumsum(dim=1)], dim=1)
