"""What a training says: one EpochRecord per step, one TrialResult at its end."""

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

PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch of one training. Scores are measured in evaluation mode on plain images."""

    step: int
    """Epoch counted through both phases, from 1, never reset."""
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
    """Mean training objective over the epoch's own batches (augmented, training mode)."""
    head_lr: float
    """Learning rate of the head in the last update of the epoch."""
    block_lr: float
    """Likewise of the trained block next to the head; 0 in the head phase."""
    seconds: float = field(compare=False)
    """Wall time of the epoch, evaluation included. Equal trainings may differ in it."""
    cached: bool = field(default=False, compare=False)
    """Whether what the frozen prefix makes of the epoch's views was kept already, likewise."""

    @staticmethod
    def scored(
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
        """Return the record of an epoch from the scores of both parts and whatever else is known of it."""
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
        """Return the validation score that ``metric`` names, higher is better: of ``nll`` the negative, in nats."""
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
    """One epoch of one of the trainings that ``run_folds`` makes; its steps begin anew with every fold."""

    fold: int = 0
    """Which fold validates, from 0."""

    @classmethod
    def of(cls, record: EpochRecord, fold: int) -> Self:
        """Return the record of an epoch as one of this fold."""
        return cls(**{one.name: getattr(record, one.name) for one in fields(record)}, fold=fold)


@dataclass(frozen=True, slots=True)
class Predictions:
    """Class probabilities of one part of the data set at every step.

    ``probabilities`` is float16 of shape (steps, images, grades); ``ids`` and ``grades`` have one entry per image.
    """

    ids: tuple[str, ...]
    grades: NDArray[np.int64]
    probabilities: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class TrialResult:
    """All that one training leaves behind.

    ``predictions["test"]`` is sealed: search, pruning and selection never read it; only ``confirm`` and the
    report's test section do. ``best_state`` holds the tensors of the best epoch that differ from the pretrained
    weights, by parameter name, head included, and what the link has learned.
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
    """Folds that validated, of a training on every fold (``run_folds``): fewer than there are where it was pruned."""

    @property
    def best_config(self) -> TrialConfig:
        """Configuration of the one training that ``best_state`` is of: the last one, where there is one a fold."""
        return self.config.model_copy(update={"split": self.config.split.turns[-1]})

    @property
    def best(self) -> EpochRecord:
        """The first step with the highest validation score."""
        return best_record(self.records, self.config.metric)

    @property
    def last(self) -> EpochRecord:
        """The last step that ran."""
        return self.records[-1]


def best_record(records: tuple[EpochRecord, ...] | list[EpochRecord], metric: Metric) -> EpochRecord:
    """Return the first record with the highest validation score.

    Raises:
        ValueError: when there are no records.
    """
    return max(records, key=lambda record: (record.score(metric), -record.step))
