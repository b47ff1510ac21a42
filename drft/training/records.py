"""The results of a training: an EpochRecord after every epoch, a TrialResult at its end."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from drft.config.trial_config import Metric, TrialConfig
from drft.metrics import Scores

Phase = Literal["head", "depth"]
Part = Literal["train", "validation", "test"]
Ending = Literal["completed", "early_stopped", "pruned"]

PHASES: tuple[Phase, ...] = ("head", "depth")
PARTS: tuple[Part, ...] = ("train", "validation", "test")

LogProbabilities = Mapping[Part, NDArray[np.float32]]
"""Log-probabilities of the classes after one epoch, shape (images, classes) for each part."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch of one training. Scores are in evaluation mode on plain images."""

    step: int
    """Epoch counted through both phases, from 1."""
    phase: Phase
    epoch: int
    """Epoch within the phase, from 1."""
    train_accuracy: float
    train_loss: float
    """Mean cross-entropy in nats, unweighted and without smoothing."""
    train_qwk: float
    """Quadratic weighted kappa."""
    train_balanced_accuracy: float
    val_accuracy: float
    val_loss: float
    val_qwk: float
    val_balanced_accuracy: float
    running_loss: float
    """Mean training loss over the batches of the epoch (augmented images, training mode)."""
    head_lr: float
    """Learning rate of the head in the last optimizer step of the epoch."""
    block_lr: float
    """Learning rate of the trained block next to the head, in the same step; 0 in the head phase."""
    seconds: float = field(compare=False)
    """Wall time of the epoch, evaluation included. It is not compared: equal trainings differ in it."""
    cached: bool = field(default=False, compare=False)
    """Whether the features of the epoch's views were in the cache before; not compared either."""

    @staticmethod
    def from_scores(
        train: Scores,
        validation: Scores,
        *,
        step: int,
        phase: Phase,
        epoch: int,
        running_loss: float,
        head_lr: float,
        block_lr: float,
        seconds: float,
        cached: bool,
    ) -> "EpochRecord":
        """Return a record from the scores of both parts and its other fields."""
        return EpochRecord(
            step=step,
            phase=phase,
            epoch=epoch,
            train_accuracy=train.accuracy,
            train_loss=train.loss,
            train_qwk=train.qwk,
            train_balanced_accuracy=train.balanced_accuracy,
            val_accuracy=validation.accuracy,
            val_loss=validation.loss,
            val_qwk=validation.qwk,
            val_balanced_accuracy=validation.balanced_accuracy,
            running_loss=running_loss,
            head_lr=head_lr,
            block_lr=block_lr,
            seconds=seconds,
            cached=cached,
        )

    def score(self, metric: Metric) -> float:
        """Return the validation score called ``metric``, higher is better: for ``nll`` its negative, in nats."""
        scores: dict[Metric, float] = {
            "accuracy": self.val_accuracy,
            "qwk": self.val_qwk,
            "balanced_accuracy": self.val_balanced_accuracy,
            "nll": -self.val_loss,
        }
        return scores[metric]

    @property
    def gap(self) -> float:
        """Generalization gap: train accuracy minus validation accuracy."""
        return self.train_accuracy - self.val_accuracy


@dataclass(frozen=True, slots=True)
class FoldEpoch(EpochRecord):
    """One epoch of one fold of ``run_folds``; its steps start at 1 in every fold."""

    fold: int = 0
    """Index of the fold that validates, from 0."""

    @classmethod
    def from_record(cls, record: EpochRecord, fold: int) -> Self:
        """Return a record with the index of its fold."""
        return cls(**{field.name: getattr(record, field.name) for field in fields(record)}, fold=fold)


@dataclass(frozen=True, slots=True)
class Predictions:
    """Class probabilities of one part of the data set after every epoch.

    ``probabilities`` is float16 of shape (epochs, images, classes); ``ids`` and ``grades`` have one entry per image.
    """

    ids: tuple[str, ...]
    grades: NDArray[np.int64]
    probabilities: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class FloorPredictions:
    """Out-of-fold predictions of a linear model on frozen features, one for each training image.

    ``ids``, ``grades`` and ``fold`` (the fold that held the image out, from 0) have one entry per image.
    """

    ids: tuple[str, ...]
    grades: NDArray[np.int64]
    fold: NDArray[np.int64]
    scores: NDArray[np.float64]
    """Shape (images, classes); the class with the highest score is predicted. They are no probabilities."""
    penalties: tuple[float, ...]
    """The ridge penalty that was chosen inside the training images of each fold."""

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The predicted class of each image, shape (images,)."""
        return np.asarray(self.scores.argmax(axis=1), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class FloorTestPredictions:
    """Predictions of the test images by a linear model on frozen features; all have one entry per image."""

    ids: tuple[str, ...]
    grades: NDArray[np.int64]
    predicted: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The result of one training.

    Search, pruning and selection never read ``predictions["test"]``; only ``confirm`` and the report's test section do.
    ``best_state`` holds, by parameter name, the tensors of the best epoch that differ from the pretrained weights, the
    head, and the learned tensors of the class probabilities.
    """

    config: TrialConfig
    records: tuple[EpochRecord, ...]
    ending: Ending
    depth_fraction: float
    """Depth over the number of blocks."""
    trainable_fraction: float
    """Share of the backbone's parameters (the head not counted) that the depth phase trains."""
    predictions: Mapping[Part, Predictions]
    best_state: Mapping[str, NDArray[np.generic]] = field(repr=False)
    device: str = "cpu"
    seconds: float = 0.0
    folds: int | None = None
    """Number of folds that validated (``run_folds``), fewer than ``split.folds`` if pruned; None for one split."""

    @property
    def best_config(self) -> TrialConfig:
        """Configuration with the split of one training; where every fold validates, that of the last of all folds.

        It is that of the training that ``best_state`` belongs to, unless a cross-validation was pruned in an earlier
        fold: then ``best_state`` is of the last fold that ran all its epochs, or of the first if none did.
        """
        return self.config.model_copy(update={"split": self.config.split.turns[-1]})

    @property
    def best(self) -> EpochRecord:
        """The first epoch with the highest validation score."""
        return best_record(self.records, self.config.metric)

    @property
    def last(self) -> EpochRecord:
        """The last epoch that ran."""
        return self.records[-1]


def best_record(records: tuple[EpochRecord, ...] | list[EpochRecord], metric: Metric) -> EpochRecord:
    """Return the first record with the highest validation score.

    Raises:
        ValueError: when there are no records.
    """
    return max(records, key=lambda record: (record.score(metric), -record.step))
