"""One phase of a fine-tuning: a new optimizer, its epochs, and what is measured after each."""

import time
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from drft.metrics import Scores, score
from drft.training.context import TrainingContext
from drft.training.records import EpochRecord, Part, Phase
from drft.training.regularization.stoch_norm import stochastic_norms
from drft.training.trainer import LogProbabilities, Trainer


def run_phase(
    context: TrainingContext, phase: Phase, first_step: int
) -> Iterator[tuple[EpochRecord, LogProbabilities]]:
    """Train one phase with a new optimizer; yield after each epoch what was measured.

    The head phase trains depth 0, the head alone; the depth phase the configuration's depth. Whenever it yields, the
    network holds the weights that were measured; when it ends, it keeps those of the last epoch.

    Raises:
        NonFiniteLossError: when the training loss becomes NaN or infinite.
        BackboneError: when the backbone has fewer blocks than the configuration's depth.
    """
    trainer = Trainer(context, phase)
    with stochastic_norms(context.model.net, context.config.regularization.stoch_norm):
        for epoch in range(1, trainer.settings.epochs + 1):
            started, step = time.perf_counter(), first_step + epoch - 1
            trainer.unfreeze(epoch)
            running_loss = trainer.train_epoch(step)
            with trainer.average.in_place():
                predictions = trainer.predict_all()
                seconds = time.perf_counter() - started
                scores = {part: _score(context, part, predictions[part]) for part in ("train", "validation")}
                yield _record(trainer, phase, step, epoch, running_loss, scores, seconds), predictions
    trainer.average.settle()


def _score(context: TrainingContext, part: Part, log_probabilities: NDArray[np.float32]) -> Scores:
    return score(log_probabilities, context.grades[context.indices(part)])


def _record(
    trainer: Trainer,
    phase: Phase,
    step: int,
    epoch: int,
    running_loss: float,
    scores: Mapping[str, Scores],
    seconds: float,
) -> EpochRecord:
    return EpochRecord.scored(
        scores["train"],
        scores["validation"],
        step=step,
        phase=phase,
        epoch=epoch,
        running_loss=running_loss,
        head_lr=trainer.head_lr,
        block_lr=trainer.block_lr,
        seconds=seconds,
        cached=trainer.cached,
    )
