"""One two-phase fine-tuning, from a configuration and a cohort to its result."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from drft.checkpoint import changed_tensors
from drft.config import TrialConfig
from drft.data.cohort import Cohort
from drft.data.images import load_images
from drft.data.splits import stratified_split
from drft.data.views import Views
from drft.devices import device_label, pick_device, seed_torch
from drft.errors import ConfigError
from drft.models.backbone import build_model
from drft.models.blocks import trainable_fraction
from drft.phases import LogProbabilities, Stage, run_phase
from drft.records import PARTS, Ending, EpochRecord, Part, Predictions, TrialResult, best_record

OnEpoch = Callable[[EpochRecord], bool]


def run_trial(
    config: TrialConfig,
    cohort: Cohort,
    on_epoch: OnEpoch = lambda _record: True,
    *,
    cache_dir: Path | None = None,
    device: str | None = None,
) -> TrialResult:
    """Fine-tune in two phases: the head on a frozen backbone, then the last ``depth`` blocks with it.

    Equal configuration, cohort and device give a bit-equal result on the CPU (with equal thread counts).

    Args:
        config: everything the training depends on besides the photographs.
        cohort: the photographs; its test part is predicted and sealed, never looked at.
        on_epoch: told of every epoch; answers whether to keep on. ``False`` ends the training as pruned.
        cache_dir: where decoded photographs are kept; None for the user's cache folder.
        device: a torch device; None for the first GPU the process sees, else the CPU.

    Raises:
        DataError: when a photograph cannot be read.
        BackboneError: when the backbone, its weights or the depth do not exist.
        ConfigError: when both phases have no epochs.
        NonFiniteLossError: when the training diverges.
    """
    started = time.perf_counter()
    stage = prepare(config, cohort, cache_dir=cache_dir, device=device)
    diary = _Diary(stage)
    ending = _train(stage, diary, on_epoch)
    return TrialResult(
        config=config,
        records=tuple(diary.records),
        ending=ending,
        depth_fraction=config.depth / len(stage.model.blocks),
        trainable_fraction=trainable_fraction(stage.model.net, config.depth),
        predictions=diary.predictions(cohort),
        best_state=diary.best_state,
        device=device_label(stage.device),
        seconds=time.perf_counter() - started,
    )


def prepare(config: TrialConfig, cohort: Cohort, *, cache_dir: Path | None = None, device: str | None = None) -> Stage:
    """Seed, divide the cohort, decode its photographs and build the model: all that comes before training."""
    if config.head_phase.epochs + config.depth_phase.epochs == 0:
        raise ConfigError("head_phase.epochs and depth_phase.epochs are both 0: give at least one phase an epoch")
    seed_torch(config.seed)
    where = pick_device(device)
    division = stratified_split(cohort, config.split)
    model = build_model(config, classes=len(cohort.grades), seed=config.seed)
    model.net.to(where)
    model.net.to(memory_format=torch.channels_last)
    images = load_images(cohort, config.image_size, cache_dir=cache_dir)
    views = Views(images, model.mean, model.std, device=where, seed=config.augmentation.seed)
    return Stage(config, model, views, division, cohort.labels(), len(cohort.grades), where)


def _train(stage: Stage, diary: "_Diary", on_epoch: OnEpoch) -> Ending:
    for record, predictions in _both_phases(stage):
        diary.add(record, predictions)
        if not on_epoch(record):
            return "pruned"
        if diary.out_of_patience:
            return "early_stopped"
    return "completed"


def _both_phases(stage: Stage) -> Iterator[tuple[EpochRecord, LogProbabilities]]:
    yield from run_phase(stage, "head", first_step=1)
    yield from run_phase(stage, "depth", first_step=stage.config.head_phase.epochs + 1)


class _Diary:
    """What a training has said so far, and the state of its best epoch."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._predictions: list[LogProbabilities] = []
        self.records: list[EpochRecord] = []
        self.best_state: Mapping[str, NDArray[np.generic]] = {}

    def add(self, record: EpochRecord, predictions: LogProbabilities) -> None:
        self.records.append(record)
        self._predictions.append(predictions)
        if self._best is record:
            self.best_state = changed_tensors(self._stage.model.net, self._stage.model.pretrained)

    @property
    def _best(self) -> EpochRecord:
        return best_record(self.records, self._stage.config.metric)

    @property
    def out_of_patience(self) -> bool:
        """Whether the depth phase went on for ``patience`` epochs without a new best score."""
        patience, last = self._stage.config.early_stopping.patience, self.records[-1]
        return bool(patience) and min(last.step - self._best.step, _epochs_in_depth_phase(last)) >= patience

    def predictions(self, cohort: Cohort) -> dict[Part, Predictions]:
        return {part: self._part_predictions(part, cohort) for part in PARTS}

    def _part_predictions(self, part: Part, cohort: Cohort) -> Predictions:
        indices = self._stage.indices(part)
        return Predictions(
            ids=tuple(cohort.photographs[index].id for index in indices),
            grades=self._stage.grades[indices],
            probabilities=np.exp([step[part] for step in self._predictions]).astype(np.float16),
        )


def _epochs_in_depth_phase(record: EpochRecord) -> int:
    return record.epoch if record.phase == "depth" else 0
