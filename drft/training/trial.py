"""One two-phase fine-tuning, from a configuration and a data set to its result."""

import time
from collections.abc import Callable
from contextlib import closing

from drft.config.trial_config import TrialConfig
from drft.data.dataset import ImageDataset
from drft.models.devices import device_label
from drft.training.context import TrainingContext
from drft.training.history import TrainingHistory
from drft.training.linear_probe import start_from_linear_probe
from drft.training.phase import run_phase
from drft.training.records import PHASES, Ending, EpochRecord, TrialResult
from drft.training.session import TrainingSession
from drft.training.unfreezing import trained_fraction

OnEpoch = Callable[[EpochRecord], bool]
"""Gets the record of every epoch and returns whether to continue."""


def run_trial(
    config: TrialConfig, dataset: ImageDataset | TrainingSession, on_epoch: OnEpoch = lambda _record: True
) -> TrialResult:
    """Fine-tune in two phases: the head on a frozen backbone, then the last ``depth`` blocks and the head.

    Equal configuration, data set and device give an equal result on the CPU (with equal thread counts), whatever the
    session trained before. For most networks the result is also the same whether activations are cached or not. For a
    few (with group norm, or maxvit), whose kernels round differently for other batch sizes, activations differ by up to
    5e-7.

    Args:
        config: all settings of the training.
        dataset: the images. Its test part is predicted, and nothing here evaluates these predictions. A
            ``TrainingSession`` keeps images and networks in memory for many trainings, and sets device and cache.
        on_epoch: gets the record of every epoch; ``False`` ends the training as pruned.

    Raises:
        DataError: when an image cannot be read.
        BackboneError: when the backbone, its weights or the depth do not exist.
        ConfigError: when both phases have no epochs, settings contradict each other, the device does not have the
            precision, or every fold is to validate (``drft.run_folds``).
        NonFiniteLossError: when the training diverges.
        TrainingError: when a batch norm cannot adapt to a batch of one image.
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
    """Run the head phase, then the depth phase; record every epoch in ``history``.

    Args:
        context: network, images and split of the training.
        history: takes the record and the predictions of every epoch, and keeps the state of the best one.
        on_epoch: as for ``run_trial``.

    Returns:
        How the training ended: ``completed``, ``pruned`` (``on_epoch`` said so) or ``early_stopped`` (patience).
    """
    if context.config.head_phase.init == "linear_probe":
        start_from_linear_probe(context)
    first_steps = {"head": 1, "depth": context.config.head_phase.epochs + 1}
    for phase in PHASES:
        # Closing the phase at an early end removes its hooks: the session trains the same network again.
        with closing(run_phase(context, phase, first_steps[phase])) as epochs:
            for record, log_probabilities in epochs:
                history.add(record, log_probabilities)
                if not on_epoch(record):
                    return "pruned"
                if history.out_of_patience:
                    return "early_stopped"
    return "completed"
