"""One two-phase fine-tuning, from a configuration and a data set to its result."""

import time
from collections.abc import Callable, Generator
from contextlib import closing

from drft.config.trial_config import TrialConfig
from drft.data.dataset import ImageDataset
from drft.models.devices import device_label
from drft.training.context import TrainingContext
from drft.training.history import TrainingHistory
from drft.training.linear_probe import start_from_linear_probe
from drft.training.phase import run_phase
from drft.training.records import Ending, EpochRecord, TrialResult
from drft.training.session import TrainingSession
from drft.training.trainer import LogProbabilities
from drft.training.unfreezing import trained_fraction

OnEpoch = Callable[[EpochRecord], bool]


def run_trial(
    config: TrialConfig, dataset: ImageDataset | TrainingSession, on_epoch: OnEpoch = lambda _record: True
) -> TrialResult:
    """Fine-tune in two phases: the head on a frozen backbone, then the last ``depth`` blocks with it.

    Equal configuration, data set and device give an equal result on the CPU (with equal thread counts), whatever the
    workbench did before and whether it keeps activations or not.

    Args:
        config: everything the training depends on besides the images.
        dataset: the images; its test part is predicted and sealed, never looked at. A workbench holds them ready
            for many trainings, and says on which device and with which cache.
        on_epoch: told of every epoch; answers whether to keep on. ``False`` ends the training as pruned.

    Raises:
        DataError: when an image cannot be read.
        BackboneError: when the backbone, its weights or the depth do not exist.
        ConfigError: when both phases have no epochs, settings contradict each other, the device does not have the
            precision, or every fold is to validate (``drft.training.cross_validation.run_folds``).
        NonFiniteLossError: when the training diverges.
    """
    started = time.perf_counter()
    session = dataset if isinstance(dataset, TrainingSession) else TrainingSession(dataset)
    context = session.prepare(config)
    history = TrainingHistory(context)
    ending = train(context, history, on_epoch)
    return TrialResult(
        config=config,
        records=tuple(history.records),
        ending=ending,
        depth_fraction=config.depth / len(context.model.blocks),
        trainable_fraction=trained_fraction(context.model, config),
        predictions=history.predictions(session.dataset),
        best_state=history.best_state,
        device=device_label(context.device),
        seconds=time.perf_counter() - started,
    )


def train(context: TrainingContext, history: TrainingHistory, on_epoch: OnEpoch) -> Ending:
    """Train through both phases, as long as ``on_epoch`` says and patience lasts, and write it all down."""
    with closing(_both_phases(context)) as epochs:  # closed at once, it leaves nothing on a network that lives on
        for record, predictions in epochs:
            history.add(record, predictions)
            if not on_epoch(record):
                return "pruned"
            if history.out_of_patience:
                return "early_stopped"
    return "completed"


def _both_phases(context: TrainingContext) -> Generator[tuple[EpochRecord, LogProbabilities], None, None]:
    if context.config.head_phase.init == "linear_probe":
        start_from_linear_probe(context)
    yield from run_phase(context, "head", first_step=1)
    yield from run_phase(context, "depth", first_step=context.config.head_phase.epochs + 1)
