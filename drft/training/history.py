"""What a training has said so far, and the state of its best epoch."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from drft.data.dataset import ImageDataset
from drft.models.checkpoint import changed_tensors
from drft.models.probabilities import learned_tensors
from drft.training.context import TrainingContext
from drft.training.records import PARTS, EpochRecord, Part, Predictions, best_record
from drft.training.trainer import LogProbabilities


class TrainingHistory:
    """Keeps the records of a training, its predictions at every step, and the tensors of its best epoch."""

    def __init__(self, context: TrainingContext) -> None:
        self._context = context
        self._predictions: list[LogProbabilities] = []
        self.records: list[EpochRecord] = []
        self.best_state: Mapping[str, NDArray[np.generic]] = {}

    def add(self, record: EpochRecord, predictions: LogProbabilities) -> None:
        """Take in an epoch, while the network is as it left it."""
        self.records.append(record)
        self._predictions.append(predictions)
        if self._leads():
            model = self._context.model
            self.best_state = changed_tensors(model.net, model.pretrained) | learned_tensors(model.link)

    def _leads(self) -> bool:
        """Whether the last epoch is the best so far."""
        return self._best is self.records[-1]

    @property
    def _best(self) -> EpochRecord:
        return best_record(self.records, self._context.config.metric)

    @property
    def out_of_patience(self) -> bool:
        """Whether the depth phase went on for ``patience`` epochs without a new best score."""
        patience, last = self._context.config.early_stopping.patience, self.records[-1]
        return bool(patience) and min(last.step - self._best.step, _epochs_in_depth_phase(last)) >= patience

    def told(self, part: Part, place: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return log-probabilities, shape (images, grades), and true grades of one part after one epoch, from 0."""
        return self._predictions[place][part], self._context.grades[self._context.indices(part)]

    def predictions(self, dataset: ImageDataset) -> dict[Part, Predictions]:
        """Return the class probabilities of all parts at every step."""
        return {part: self._part_predictions(part, dataset) for part in PARTS}

    def _part_predictions(self, part: Part, dataset: ImageDataset) -> Predictions:
        indices = self._context.indices(part)
        return Predictions(
            ids=tuple(dataset.images[index].id for index in indices),
            grades=self._context.grades[indices],
            probabilities=np.exp([step[part] for step in self._predictions]).astype(np.float16),
        )


def _epochs_in_depth_phase(record: EpochRecord) -> int:
    return record.epoch if record.phase == "depth" else 0
