"""One phase of a fine-tuning: a new optimizer, its epochs, and the scores after each epoch."""

import math
import time
from collections.abc import Generator

from drft.metrics import Scores, score
from drft.training.context import TrainingContext
from drft.training.records import EpochRecord, LogProbabilities, Phase
from drft.training.regularization.stoch_norm import stochastic_norms
from drft.training.trainer import Trainer

_UNSCORED = Scores(math.nan, math.nan, math.nan, math.nan)


def run_phase(
    context: TrainingContext, phase: Phase, first_step: int
) -> Generator[tuple[EpochRecord, LogProbabilities], None, None]:
    """Train one phase with a new optimizer; yield record and log-probabilities of every epoch.

    The head phase trains the head alone (depth 0), the depth phase the configured depth. While this generator is
    suspended, the network holds the weights that were scored. When it ends, the network keeps those of the last epoch.
    Without validation images, validation scores are NaN.

    Args:
        context: network, images and split of the training.
        phase: ``head`` or ``depth``.
        first_step: number of the phase's first epoch, counted through both phases from 1.

    Raises:
        NonFiniteLossError: when the training loss becomes NaN or infinite.
        TrainingError: when a batch norm cannot adapt to a batch of one image.
        BackboneError: when the backbone has fewer blocks than the configured depth.
    """
    trainer = Trainer(context, phase)
    train, validation = (context.grades[context.indices(part)] for part in ("train", "validation"))
    with stochastic_norms(context.model.net, context.config.regularization.stoch_norm):
        for epoch in range(1, trainer.settings.epochs + 1):
            started, step = time.perf_counter(), first_step + epoch - 1
            trainer.unfreeze(epoch)
            running_loss = trainer.train_epoch(step)
            with trainer.ema.applied():
                log_probabilities = trainer.predict()
                record = EpochRecord.from_scores(
                    score(log_probabilities["train"], train),
                    score(log_probabilities["validation"], validation) if len(validation) else _UNSCORED,
                    step=step,
                    phase=phase,
                    epoch=epoch,
                    running_loss=running_loss,
                    head_lr=trainer.head_lr,
                    block_lr=trainer.block_lr,
                    seconds=time.perf_counter() - started,
                    cached=trainer.cached,
                )
                yield record, log_probabilities
    trainer.ema.apply()
    trainer.optimizer.zero_grad()  # gradients keep the memory of CUDA graphs
