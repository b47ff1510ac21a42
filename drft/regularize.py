"""What keeps a fine-tuning from learning its few photographs by heart: the training loss and its weights."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from drft.config import LossConfig


def class_weights(grades: NDArray[np.int64], classes: int, weighting: str) -> NDArray[np.float32]:
    """Return the weight of each grade in the loss, shape (classes,), with mean 1 over the photographs.

    ``balanced`` weighs a grade by n / (classes · n_grade) (King & Zeng 2001), ``sqrt`` by the square root of that,
    ``none`` by 1. A grade without photographs gets weight 0, since no photograph asks for it.
    """
    counts = np.bincount(grades, minlength=classes).astype(np.float64)
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[weighting]
    weights = np.where(counts > 0, np.maximum(counts, 1) ** -power, 0.0)
    return np.asarray(weights * counts.sum() / (weights * counts).sum(), dtype=np.float32)


def training_loss(config: LossConfig, grades: NDArray[np.int64], classes: int) -> nn.CrossEntropyLoss:
    """Return the training loss for photographs of these grades: weighted cross-entropy with label smoothing."""
    weights = torch.from_numpy(class_weights(grades, classes, config.class_weighting))
    return nn.CrossEntropyLoss(weight=weights, label_smoothing=config.label_smoothing)
