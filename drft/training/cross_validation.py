"""One configuration trained once for each fold, so that every training image validates exactly once.

Cross-validation (Stone 1974; Kohavi 1995), told as if it were one training: the scores of a step are those of all
folds' predictions together, and the best step, one for all folds, is where these score highest. That is less optimistic
than each fold's own best step, which would be the luckiest epoch of few images as often as there are folds.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from drft.config.trial_config import TrialConfig
from drft.data.dataset import ImageDataset
from drft.errors import ConfigError
from drft.metrics import Scores, score
from drft.models.devices import device_label
from drft.training.context import TrainingContext
from drft.training.history import TrainingHistory
from drft.training.records import PARTS, EpochRecord, FoldEpoch, Part, Predictions, TrialResult, best_record
from drft.training.session import TrainingSession
from drft.training.trial import train
from drft.training.unfreezing import trained_fraction

OnFoldEpoch = Callable[[FoldEpoch], bool]


def run_folds(
    config: TrialConfig, dataset: ImageDataset | TrainingSession, on_epoch: OnFoldEpoch = lambda _record: True
) -> TrialResult:
    """Fine-tune once for each fold, with equal seeds, and put together what the trainings say.

    - A record holds the scores of what all folds predicted at its step: in training every image counts once for
      each training it was in. Learning rates, running loss and seconds are means over the folds.
    - ``predictions`` hold each image once, graded by one model: a training image in ``validation`` by the
      one that never saw it, in ``train`` by one of those that did, and a test image by any of them, by turns. A
      mean of several models' probabilities would be an ensemble's, which grades better than validation lets one expect.
    - ``best_state`` is that of the last fold's training at the common best step.

    Folds that were told to stop before their end do not count, unless there is no other.

    Args:
        config: its ``split.folds`` says how many, and its ``split.fold`` is None.
        dataset: as ``run_trial`` takes it.
        on_epoch: told of every epoch of every fold; answers whether to keep on. ``False`` ends it all as pruned.

    Raises:
        ConfigError: when ``config`` is of one training, or would stop early, which leaves folds of unequal length.
        DrftError: as ``run_trial`` does.
    """
    started = time.perf_counter()
    _check(config)
    session = dataset if isinstance(dataset, TrainingSession) else TrainingSession(dataset)
    histories: list[_FoldHistory] = []
    pruned = False
    for fold, split in enumerate(config.split.turns):
        context = session.prepare(config.model_copy(update={"split": split}))
        histories.append(_FoldHistory(context, tuple(histories)))
        pruned = train(context, histories[-1], _of_fold(fold, on_epoch)) == "pruned"
        if pruned:
            break
    whole = [history for history in histories if len(history.records) == config.steps] or histories[:1]
    return TrialResult(
        config=config,
        records=tuple(whole[-1].together),
        ending="pruned" if pruned else "completed",
        depth_fraction=config.depth / len(context.model.blocks),
        trainable_fraction=trained_fraction(context.model, config),
        predictions=_dealt([history.predictions(session.dataset) for history in whole], session.dataset),
        best_state=whole[-1].best_state,
        device=device_label(context.device),
        seconds=time.perf_counter() - started,
        folds=len(whole),
    )


def _check(config: TrialConfig) -> None:
    if not config.split.every_fold:
        raise ConfigError("run_folds: set split.folds to how many there are, and split.fold to None for all of them")
    if config.early_stopping.patience:
        raise ConfigError(
            "early_stopping.patience: folds would end after different steps, and have one best step together: set it "
            "to 0 with folds"
        )


def _of_fold(fold: int, on_epoch: OnFoldEpoch) -> Callable[[EpochRecord], bool]:
    return lambda record: on_epoch(FoldEpoch.of(record, fold))


class _FoldHistory(TrainingHistory):
    """The diary of one fold, whose best epoch is the best of this fold and those before it together."""

    def __init__(self, context: TrainingContext, before: tuple["_FoldHistory", ...]) -> None:
        super().__init__(context)
        self._folds = (*before, self)
        self.together: list[EpochRecord] = []
        """Records of this fold and those before it together."""

    def _leads(self) -> bool:
        self.together.append(_together(self._folds, len(self.together)))
        return best_record(self.together, self._context.config.metric) is self.together[-1]


def _together(folds: Sequence[TrainingHistory], place: int) -> EpochRecord:
    """Return the record of what several folds said after one epoch, counted from 0."""
    records = [fold.records[place] for fold in folds]
    training, validation = (_score([fold.told(part, place) for fold in folds]) for part in ("train", "validation"))
    first = records[0]
    return EpochRecord.scored(
        training,
        validation,
        step=first.step,
        phase=first.phase,
        epoch=first.epoch,
        running_loss=fmean(record.running_loss for record in records),
        head_lr=fmean(record.head_lr for record in records),
        block_lr=fmean(record.block_lr for record in records),
        seconds=fmean(record.seconds for record in records),
        cached=all(record.cached for record in records),
    )


def _score(told: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]]) -> Scores:
    return score(np.concatenate([said for said, _ in told]), np.concatenate([grades for _, grades in told]))


def _dealt(folds: Sequence[Mapping[Part, Predictions]], dataset: ImageDataset) -> dict[Part, Predictions]:
    places = {image.id: place for place, image in enumerate(dataset.images)}
    return {part: _deal([fold[part] for fold in folds], places) for part in PARTS}


def _deal(folds: Sequence[Predictions], places: Mapping[str, int]) -> Predictions:
    """Take each image from one fold, by turns from those that have it; in the order of the data set."""
    told: dict[str, list[int]] = {}
    for column, name in enumerate(name for fold in folds for name in fold.ids):
        told.setdefault(name, []).append(column)
    ids = sorted(told, key=places.__getitem__)
    taken = np.array([told[name][turn % len(told[name])] for turn, name in enumerate(ids)], dtype=np.int64)
    return Predictions(
        ids=tuple(ids),
        grades=np.concatenate([fold.grades for fold in folds])[taken],
        probabilities=np.concatenate([fold.probabilities for fold in folds], axis=1)[:, taken],
    )
