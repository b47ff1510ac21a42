"""The history of a training: records and predictions of its epochs, and the state of the best one."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from drft.data.dataset import ImageDataset
from drft.metrics import Scores, score
from drft.models.checkpoint import changed_tensors
from drft.models.probabilities import learned_tensors
from drft.training.context import TrainingContext
from drft.training.records import PARTS, EpochRecord, LogProbabilities, Part, Predictions, best_record


class TrainingHistory:
    """Records of a training, its predictions after every epoch, and the changed tensors of its best epoch.

    Args:
        context: network, images and split of the training.
        earlier_folds: histories of the folds trained before it, in cross-validation. The best epoch is then the one
            with the best score over all these folds together.
    """

    def __init__(self, context: TrainingContext, earlier_folds: Sequence["TrainingHistory"] = ()) -> None:
        self.records: list[EpochRecord] = []
        self.pooled: list[EpochRecord] = []
        """Records with the scores of all folds' predictions together; without earlier folds, those of ``records``."""
        self.best_state: Mapping[str, NDArray[np.generic]] = {}
        self._context = context
        self._folds = (*earlier_folds, self)
        self._log_probabilities: list[LogProbabilities] = []

    def add(self, record: EpochRecord, log_probabilities: LogProbabilities) -> None:
        """Add an epoch. The network must still hold the weights that made these predictions."""
        self.records.append(record)
        self._log_probabilities.append(log_probabilities)
        self.pooled.append(_pool(self._folds, len(self.pooled)) if len(self._folds) > 1 else record)
        if self._best is self.pooled[-1]:
            model = self._context.model
            self.best_state = changed_tensors(model.net, model.pretrained) | learned_tensors(model.probabilities)

    @property
    def _best(self) -> EpochRecord:
        """The first epoch with the highest validation score; the last one if no image validates."""
        if not len(self._context.indices("validation")):
            return self.pooled[-1]
        return best_record(self.pooled, self._context.config.metric)

    @property
    def out_of_patience(self) -> bool:
        """Whether the last ``patience`` epochs of the depth phase brought no better score."""
        patience, last = self._context.config.early_stopping.patience, self.records[-1]
        epochs_in_depth_phase = last.epoch if last.phase == "depth" else 0
        return bool(patience) and min(last.step - self._best.step, epochs_in_depth_phase) >= patience

    def predictions(self, dataset: ImageDataset) -> dict[Part, Predictions]:
        """Return the class probabilities of every part after every epoch."""
        predictions = {}
        for part in PARTS:
            indices = self._context.indices(part)
            predictions[part] = Predictions(
                ids=tuple(dataset.images[index].id for index in indices),
                grades=self._context.grades[indices],
                probabilities=np.exp([epoch[part] for epoch in self._log_probabilities]).astype(np.float16),
            )
        return predictions

    def epoch_predictions(self, part: Part, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return log-probabilities (images, classes) and true grades of a part after epoch ``index`` (from 0)."""
        return self._log_probabilities[index][part], self._context.grades[self._context.indices(part)]


def _pool(folds: Sequence[TrainingHistory], index: int) -> EpochRecord:
    """Return the record of epoch ``index`` (from 0) with the scores of all folds' predictions together.

    In the training part an image counts once for every fold that trained on it. Learning rates, running loss and
    seconds are means over the folds.
    """
    records = [fold.records[index] for fold in folds]
    first = records[0]
    return EpochRecord.from_scores(
        _pooled_scores(folds, "train", index),
        _pooled_scores(folds, "validation", index),
        step=first.step,
        phase=first.phase,
        epoch=first.epoch,
        running_loss=fmean(record.running_loss for record in records),
        head_lr=fmean(record.head_lr for record in records),
        block_lr=fmean(record.block_lr for record in records),
        seconds=fmean(record.seconds for record in records),
        cached=all(record.cached for record in records),
    )


def _pooled_scores(folds: Sequence[TrainingHistory], part: Part, index: int) -> Scores:
    predictions = [fold.epoch_predictions(part, index) for fold in folds]
    log_probabilities, grades = zip(*predictions, strict=True)
    return score(np.concatenate(log_probabilities), np.concatenate(grades))
