"""Links: how the outputs of a network become log-probabilities of the grades, the way its loss means them.

Whatever the loss, the head has one output for each grade, and everything after the link sees log-probabilities alone.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from drft.config.trial_config import LossKind
from drft.models.qwk_thresholds import qwk_thresholds

PREFIX = "link."
"""Before the names of a link's tensors in a checkpoint: no network has such names."""

_APART = 1e-6
"""Least difference of neighbouring thresholds: no grade between two others is impossible."""

_SPREADS = np.geomspace(0.02, 5.0, 45)


class ClassProbabilities(nn.Module):
    """Maps outputs to log-probabilities, both of shape (images, classes)."""

    def fit(self, outputs: Tensor, grades: Tensor) -> None:
        """Learn what the loss leaves open from the training part; most links have nothing to learn."""

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the natural logarithms of class probabilities."""
        raise NotImplementedError


class SoftmaxProbabilities(ClassProbabilities):
    """The link of the cross-entropy."""

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the log-softmax."""
        return outputs.log_softmax(dim=1)


class CoralProbabilities(ClassProbabilities):
    """P(grade >= k) is the sigmoid of a score plus a threshold (Cao, Mirjalili & Raschka 2020).

    The thresholds fall from grade to grade at the loss's minimum; before it they may not, and are put in order. The
    paper predicts the median grade; here, as with every link, it is the most probable one.
    """

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the log-probabilities, from differences of neighbouring cumulative ones."""
        at_least = coral_logits(outputs).sort(dim=1, descending=True).values
        above, below = at_least[:, :-1], at_least[:, 1:]
        between = logsigmoid(above) + logsigmoid(-below) + torch.log(-torch.expm1(-(above - below).clamp(min=_APART)))
        told = torch.cat([logsigmoid(-at_least[:, :1]), between, logsigmoid(at_least[:, -1:])], dim=1)
        return told.log_softmax(dim=1)


class CornProbabilities(ClassProbabilities):
    """P(grade > k), given that it is k or more, is the sigmoid of output k (Shi, Cao & Raschka 2023).

    Their product is P(grade > k), which falls with k by itself. The last output means nothing. The paper predicts the
    median grade; here, as with every link, it is the most probable one.
    """

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the log-probabilities, from products of the conditional ones."""
        further = outputs[:, :-1]
        reached = torch.cat([torch.zeros_like(further[:, :1]), logsigmoid(further).cumsum(dim=1)], dim=1)
        stays = torch.cat([logsigmoid(-further), torch.zeros_like(further[:, :1])], dim=1)
        return reached + stays


class ExpectedGradeProbabilities(ClassProbabilities):
    """Thresholds on the expected grade: neighbouring grades are equally likely at the threshold between them.

    The odds of a grade against the one below are exp((score - threshold) / spread), as of Gaussian scores with a mean
    for each grade and one variance (adjacent categories, Agresti 2010): so the most probable grade is always the one
    between whose thresholds the score lies. The thresholds are those with the highest quadratic weighted kappa on the
    training part, the spread is the most likely one there.
    """

    thresholds: Tensor
    spread: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.arange(1, classes) - 0.5)
        self.register_buffer("spread", torch.tensor(1.0))

    def fit(self, outputs: Tensor, grades: Tensor) -> None:
        """Choose thresholds and spread on the training part."""
        scores = expected_grades(outputs).double().cpu().numpy()
        true = grades.cpu().numpy()
        thresholds = qwk_thresholds(scores, true, outputs.shape[1])
        self.thresholds.copy_(torch.from_numpy(thresholds))
        self.spread.fill_(_likeliest_spread(scores, true, thresholds))

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the log-probabilities."""
        steps = (expected_grades(outputs)[:, None] - self.thresholds) / self.spread
        return torch.cat([torch.zeros_like(steps[:, :1]), steps.cumsum(dim=1)], dim=1).log_softmax(dim=1)


def coral_logits(outputs: Tensor) -> Tensor:
    """Return the logits of P(grade >= 1), P(grade >= 2), ...: the first output is the score, the others thresholds."""
    return outputs[:, :1] + outputs[:, 1:]


def expected_grades(outputs: Tensor) -> Tensor:
    """Return the expected grade under the softmax of the outputs, shape (images,)."""
    return outputs.softmax(dim=1) @ torch.arange(outputs.shape[1], device=outputs.device, dtype=outputs.dtype)


def make_probabilities(kind: LossKind, classes: int) -> ClassProbabilities:
    """Return a new link for a kind of loss."""
    if kind == "expected_grade":
        return ExpectedGradeProbabilities(classes)
    return {"cross_entropy": SoftmaxProbabilities, "coral": CoralProbabilities, "corn": CornProbabilities}[kind]()


def learned_tensors(link: ClassProbabilities) -> dict[str, NDArray[np.generic]]:
    """Return what a link has learned, by name, as a checkpoint keeps it."""
    return {PREFIX + name: tensor.detach().cpu().numpy().copy() for name, tensor in link.state_dict().items()}


def _likeliest_spread(scores: NDArray[np.float64], grades: NDArray[np.int64], thresholds: NDArray[np.float64]) -> float:
    """Return the spread of a grid under which the grades are the most likely."""
    steps = np.cumsum(scores[:, None] - thresholds, axis=1)
    told = np.column_stack([np.zeros(len(scores)), steps])
    losses = []
    for spread in _SPREADS:
        scaled = told / spread
        top = scaled.max(axis=1)
        normalizer = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        losses.append(float((normalizer - scaled[np.arange(len(grades)), grades]).mean()))
    return float(_SPREADS[int(np.argmin(losses))])
