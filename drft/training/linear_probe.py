"""Initialize the head by a linear probe, the first half of LP-FT (Kumar et al. 2022)."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor, nn

from drft.errors import BackboneError
from drft.models.blocks import head_modules
from drft.training.context import TrainingContext
from drft.training.losses import class_weights
from drft.training.records import Part
from drft.training.regularization.penalties import classifier_inputs

_SMALL_GRADIENT = 1e-7
"""The fit ends when no entry of the gradient is larger."""


class Probe(NamedTuple):
    """A multinomial logistic regression."""

    weight: NDArray[np.float64]
    """Shape (classes, features)."""
    bias: NDArray[np.float64]


def start_from_linear_probe(context: TrainingContext) -> None:
    """Set the head to a logistic regression on the features of the plain training images, backbone frozen.

    Raises:
        BackboneError: when the classifier is not one linear layer with a bias and one input vector for each image.
    """
    (head, *others), features = head_modules(context.model.net), frozen_features(context, "train")
    if others or not isinstance(head, nn.Linear) or head.bias is None or features.ndim != 2:
        raise BackboneError(
            f"head_phase.init: the classifier of {context.network.name} is not one linear layer with one input vector "
            "for each image, so it cannot start from a linear probe: set it to random"
        )
    grades, config = context.grades[context.split.train], context.config
    weights = class_weights(grades, context.classes, config.loss)
    probe = fit_linear_probe(features.double().cpu().numpy(), grades, weights, config.head_phase.probe_l2)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(probe.weight))
        head.bias.copy_(torch.from_numpy(probe.bias))


def fit_linear_probe(
    features: NDArray[np.float64], grades: NDArray[np.int64], weights: NDArray[np.floating], l2: float
) -> Probe:
    """Fit a multinomial logistic regression by L-BFGS (Liu & Nocedal 1989), until its gradient is nearly zero.

    It minimizes the weighted mean cross-entropy plus ``l2 / 2 · ‖W‖²``; biases have no penalty. The bias of a class
    without images decreases until the fit ends.

    Args:
        features: shape (images, features).
        grades: class of each image, from 0, shape (images,).
        weights: weight of each class, shape (classes,).
        l2: strength of the penalty, above 0.
    """
    count, classes = len(grades), len(weights)
    # The penalty keeps the weights in the span of the features, so a basis of it is enough: far fewer variables.
    basis, coordinates = np.linalg.qr(features.T)
    inputs = np.column_stack([coordinates.T, np.ones(count)])
    share = (weights[grades] / weights[grades].sum())[:, None]
    targets = np.eye(classes)[grades]
    decay = np.append(np.full(basis.shape[1], l2), 0.0)

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        theta = flat.reshape(classes, -1)
        log_p = log_softmax(inputs @ theta.T, axis=1)
        loss = -(share * targets * log_p).sum() + (decay * theta**2).sum() / 2
        gradient = (share * (np.exp(log_p) - targets)).T @ inputs + decay * theta
        return loss, gradient.ravel()

    options = {"maxiter": 10_000, "maxfun": 20_000, "maxcor": 30, "ftol": 0.0, "gtol": _SMALL_GRADIENT}
    start = np.zeros(classes * inputs.shape[1])
    solution = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x.reshape(classes, -1)
    return Probe(solution[:, :-1] @ basis.T, solution[:, -1])


@torch.no_grad()
def frozen_features(context: TrainingContext, part: Part) -> Tensor:
    """Return the classifier's input for each image of a part, without augmentation and dropout.

    They come from the cached activations that a training of depth 0 uses.

    Returns:
        Shape (images, features); more dimensions where the classifier has more than one input vector for each image.
    """
    net, prefix = context.model.net, context.prefix(0, only_this_boundary=True)
    net.eval()
    images = prefix.open(context.images(part))
    with classifier_inputs(net) as inputs:
        for rows in context.evaluation_batches(len(images)):
            prefix.suffix(images.batch(rows))
    return torch.cat(inputs)
