"""One training on all training images, for as many epochs as cross-validation chose: no image is left to validate."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.config.trial_config import TrialConfig, with_values
from drft.data.dataset import ImageDataset
from drft.data.splits import Split
from drft.errors import ConfigError
from drft.training.history import TrainingHistory
from drft.training.records import EpochRecord
from drft.training.session import TrainingSession
from drft.training.trial import train


class Refit(NamedTuple):
    """A training without validation images."""

    config: TrialConfig
    state: Mapping[str, NDArray[np.generic]]
    """Tensors after the last epoch, as ``best_state`` of a ``TrialResult``."""
    records: tuple[EpochRecord, ...]
    """One for each epoch; validation scores are NaN."""
    images: int
    """Number of images that it was trained on."""


def run_refit(
    config: TrialConfig,
    dataset: ImageDataset | TrainingSession,
    epochs: int,
    on_epoch: Callable[[EpochRecord], None] = lambda _record: None,
) -> Refit:
    """Fine-tune in two phases on the training and the validation images together; the test images are not predicted.

    Learning rates follow the schedule of the full length of ``config`` and end where the training does, as they did in
    the trainings that were scored at this epoch: a schedule that is compressed into fewer epochs is another training.

    Args:
        config: all settings of the training; the split only says which images do not belong to the test part. Early
            stopping has no effect, since there is no score that it could follow.
        dataset: as for ``run_trial``.
        epochs: when to stop, counted through both phases.
        on_epoch: gets the record of every epoch.

    Raises:
        ConfigError: when ``epochs`` is not within 1 and the length of the training.
        DrftError: as ``run_trial`` does.
    """
    if not 1 <= epochs <= config.steps:
        raise ConfigError(f"epochs is {epochs}: both phases together have 1 to {config.steps}")
    session = dataset if isinstance(dataset, TrainingSession) else TrainingSession(dataset)
    context = session.prepare(with_values(config, {"early_stopping.patience": 0}))
    everything = np.union1d(context.split.train, context.split.validation)
    context = replace(context, split=Split(everything, everything[:0], everything[:0]))
    history = TrainingHistory(context)

    def continues(record: EpochRecord) -> bool:
        on_epoch(record)
        return record.step < epochs

    train(context, history, continues)
    return Refit(context.config, history.best_state, tuple(history.records), len(everything))
