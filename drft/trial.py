"""One two-phase fine-tuning, from a configuration and a cohort to its result."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from drft.checkpoint import changed_tensors
from drft.config import TrialConfig
from drft.data.cohort import Cohort
from drft.devices import device_label
from drft.linear_probe import start_from_linear_probe
from drft.links import link_tensors
from drft.phases import run_phase
from drft.records import PARTS, Ending, EpochRecord, Part, Predictions, TrialResult, best_record
from drft.stage import Stage
from drft.trainer import LogProbabilities
from drft.unfreezing import share_trained
from drft.workbench import Workbench

OnEpoch = Callable[[EpochRecord], bool]


def run_trial(config: TrialConfig, cohort: Cohort | Workbench, on_epoch: OnEpoch = lambda _record: True) -> TrialResult:
    """Fine-tune in two phases: the head on a frozen backbone, then the last ``depth`` blocks with it.

    Equal configuration, cohort and device give an equal result on the CPU (with equal thread counts), whatever the
    workbench did before and whether it keeps activations or not.

    Args:
        config: everything the training depends on besides the photographs.
        cohort: the photographs; its test part is predicted and sealed, never looked at. A workbench holds them ready
            for many trainings, and says on which device and with which cache.
        on_epoch: told of every epoch; answers whether to keep on. ``False`` ends the training as pruned.

    Raises:
        DataError: when a photograph cannot be read.
        BackboneError: when the backbone, its weights or the depth do not exist.
        ConfigError: when both phases have no epochs, settings contradict each other, or the device does not have the
            precision.
        NonFiniteLossError: when the training diverges.
    """
    started = time.perf_counter()
    bench = cohort if isinstance(cohort, Workbench) else Workbench(cohort)
    stage = bench.prepare(config)
    diary = _Diary(stage)
    ending = _train(stage, diary, on_epoch)
    return TrialResult(
        config=config,
        records=tuple(diary.records),
        ending=ending,
        depth_fraction=config.depth / len(stage.model.blocks),
        trainable_fraction=share_trained(stage.model, config),
        predictions=diary.predictions(bench.cohort),
        best_state=diary.best_state,
        device=device_label(stage.device),
        seconds=time.perf_counter() - started,
    )


def _train(stage: Stage, diary: "_Diary", on_epoch: OnEpoch) -> Ending:
    with closing(_both_phases(stage)) as epochs:  # closed at once, it leaves nothing on a network that lives on
        for record, predictions in epochs:
            diary.add(record, predictions)
            if not on_epoch(record):
                return "pruned"
            if diary.out_of_patience:
                return "early_stopped"
    return "completed"


def _both_phases(stage: Stage) -> Generator[tuple[EpochRecord, LogProbabilities], None, None]:
    if stage.config.head_phase.init == "linear_probe":
        start_from_linear_probe(stage)
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
            model = self._stage.model
            self.best_state = changed_tensors(model.net, model.pretrained) | link_tensors(model.link)

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
