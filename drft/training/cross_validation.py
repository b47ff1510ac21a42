"""Cross-validation: one configuration trained once for each fold, so that every training image validates once.

(Stone 1974; Kohavi 1995.) The result has the form of one training. The scores of an epoch are those of all folds'
predictions together, and one best epoch, common to all folds, is where these scores are highest. That is less
optimistic than the best epoch of each fold, which is chosen on few images as often as there are folds.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from drft.config.trial_config import TrialConfig
from drft.data.dataset import ImageDataset
from drft.errors import ConfigError
from drft.models.devices import device_label
from drft.training.history import TrainingHistory
from drft.training.records import PARTS, EpochRecord, FoldEpoch, Part, Predictions, TrialResult
from drft.training.session import TrainingSession
from drft.training.trial import train
from drft.training.unfreezing import trained_fraction

OnFoldEpoch = Callable[[FoldEpoch], bool]
"""Gets the record of every epoch of every fold and returns whether to continue."""


def run_folds(
    config: TrialConfig, dataset: ImageDataset | TrainingSession, on_epoch: OnFoldEpoch = lambda _record: True
) -> TrialResult:
    """Fine-tune once for each fold, with equal seeds, and pool the predictions of the folds.

    - The scores of a record are those of all folds' predictions after that epoch; in the training part an image counts
      once for every fold that trained on it. Learning rates, running loss and seconds are means over the folds.
    - ``predictions`` hold each image once, predicted by one model. ``validation`` holds the training images, each
      predicted by the model that was not trained on it; ``train`` holds them predicted by one of the models trained on
      them; each test image is predicted by one of all models in turn. A mean over several models would be an ensemble,
      which is better than the validation scores.
    - ``best_state`` is that of the last fold's training at the common best epoch.

    Folds that were pruned do not count, unless there is no other.

    Args:
        config: ``split.folds`` is the number of folds, ``split.fold`` is None.
        dataset: as for ``run_trial``.
        on_epoch: gets the record of every epoch of every fold; ``False`` ends the trial as pruned.

    Raises:
        ConfigError: when ``config`` has a single split, or early stopping, which leaves folds of unequal length.
        DrftError: as ``run_trial`` does.
    """
    if not config.split.every_fold:
        raise ConfigError("run_folds: set split.folds to the number of folds, and split.fold to None")
    if config.early_stopping.patience:
        raise ConfigError(
            "early_stopping.patience: folds would stop at different epochs, but need one common best epoch: set it to "
            "0 with folds"
        )
    started = time.perf_counter()
    session = dataset if isinstance(dataset, TrainingSession) else TrainingSession(dataset)
    histories: list[TrainingHistory] = []
    pruned = False
    for fold, split in enumerate(config.split.turns):
        context = session.prepare(config.model_copy(update={"split": split}))
        histories.append(TrainingHistory(context, earlier_folds=histories))
        pruned = train(context, histories[-1], partial(_report_fold, on_epoch, fold)) == "pruned"
        if pruned:
            break
    complete = [history for history in histories if len(history.records) == config.steps] or histories[:1]
    return TrialResult(
        config=config,
        records=tuple(complete[-1].pooled),
        ending="pruned" if pruned else "completed",
        depth_fraction=config.depth / len(context.model.blocks),
        trainable_fraction=trained_fraction(context.model, config),
        predictions=_one_prediction_each(
            [history.predictions(session.dataset) for history in complete], session.dataset
        ),
        best_state=complete[-1].best_state,
        device=device_label(context.device),
        seconds=time.perf_counter() - started,
        folds=len(complete),
    )


def _report_fold(on_epoch: OnFoldEpoch, fold: int, record: EpochRecord) -> bool:
    return on_epoch(FoldEpoch.from_record(record, fold))


def _one_prediction_each(folds: Sequence[Mapping[Part, Predictions]], dataset: ImageDataset) -> dict[Part, Predictions]:
    """Return the predictions of one model for each image, in the order of the data set.

    Where several folds predicted an image, consecutive images take theirs from the folds in turn.
    """
    order = {image.id: index for index, image in enumerate(dataset.images)}
    merged: dict[Part, Predictions] = {}
    for part in PARTS:
        predictions = [fold[part] for fold in folds]
        columns: dict[str, list[int]] = {}
        for column, image_id in enumerate(image_id for fold in predictions for image_id in fold.ids):
            columns.setdefault(image_id, []).append(column)
        ids = sorted(columns, key=order.__getitem__)
        chosen = np.array(
            [columns[image_id][turn % len(columns[image_id])] for turn, image_id in enumerate(ids)], dtype=np.int64
        )
        merged[part] = Predictions(
            ids=tuple(ids),
            grades=np.concatenate([fold.grades for fold in predictions])[chosen],
            probabilities=np.concatenate([fold.probabilities for fold in predictions], axis=1)[:, chosen],
        )
    return merged
