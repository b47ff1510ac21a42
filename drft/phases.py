"""One phase of a fine-tuning: a new optimizer, its epochs, and what is measured after each."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from drft.config import DepthPhaseConfig, HeadPhaseConfig, TrialConfig
from drft.data.splits import Split
from drft.data.views import Views
from drft.errors import NonFiniteLossError
from drft.metrics import Scores, score
from drft.models.backbone import Model
from drft.models.blocks import set_trainable, train_mode
from drft.models.boundary import Boundary, split
from drft.optim import current_lr, make_optimizer, make_scheduler, parameter_groups
from drft.records import PARTS, EpochRecord, Part, Phase
from drft.regularize import training_loss

LogProbabilities = Mapping[Part, NDArray[np.float32]]

_EVALUATION_BATCH = 128


@dataclass(frozen=True)
class Stage:
    """What both phases share: the model, the photographs and how they are divided."""

    config: TrialConfig
    model: Model
    views: Views
    division: Split
    grades: NDArray[np.int64]
    """Grades of all photographs of the cohort."""
    classes: int
    device: torch.device

    def indices(self, part: Part) -> NDArray[np.int64]:
        """Return the photographs of one part."""
        parts: Mapping[Part, NDArray[np.int64]] = {
            "train": self.division.train,
            "validation": self.division.validation,
            "test": self.division.test,
        }
        return parts[part]


def run_phase(stage: Stage, phase: Phase, first_step: int) -> Iterator[tuple[EpochRecord, LogProbabilities]]:
    """Train one phase with a new optimizer; yield after each epoch what was measured.

    The head phase trains depth 0, the head alone; the depth phase the configuration's depth.

    Raises:
        NonFiniteLossError: when the training loss becomes NaN or infinite.
        BackboneError: when the backbone has fewer blocks than the configuration's depth.
    """
    config = stage.config
    settings, depth = (config.head_phase, 0) if phase == "head" else (config.depth_phase, config.depth)
    trainer = _Trainer(stage, settings, depth)
    for epoch in range(1, settings.epochs + 1):
        started, step = time.perf_counter(), first_step + epoch - 1
        running_loss = trainer.train_epoch(step)
        predictions = trainer.predict_all()
        scores = {part: _score(stage, part, predictions[part]) for part in ("train", "validation")}
        yield _record(trainer, phase, step, epoch, running_loss, scores, time.perf_counter() - started), predictions


class _Trainer:
    """The trained suffix of a network with its optimizer, for the epochs of one phase."""

    def __init__(self, stage: Stage, settings: HeadPhaseConfig | DepthPhaseConfig, depth: int) -> None:
        self.stage = stage
        self.depth = depth
        net, blocks = stage.model.net, stage.model.blocks
        set_trainable(net, depth)
        self.boundary: Boundary = split(net, depth)
        depth_settings = settings if isinstance(settings, DepthPhaseConfig) else None
        groups = parameter_groups(
            net,
            blocks[len(blocks) - depth :],
            head_lr=depth_settings.head_lr if depth_settings else settings.lr,
            block_lr=settings.lr,
            layer_decay=depth_settings.layer_decay if depth_settings else 1.0,
        )
        self.optimizer = make_optimizer(stage.config.optimizer, groups)
        self.batches = -(-len(stage.division.train) // stage.config.batch_size)
        self.scheduler = make_scheduler(
            self.optimizer,
            settings.schedule,
            warmup_epochs=settings.warmup_epochs,
            epochs=settings.epochs,
            updates_per_epoch=self.batches,
        )
        grades = stage.grades[stage.division.train]
        self.loss: nn.Module = training_loss(stage.config.loss, grades, stage.classes).to(stage.device)
        self.head_lr = self.block_lr = 0.0
        self._plain: dict[Part, list[Tensor]] = {}

    def train_epoch(self, step: int) -> float:
        """Train on every photograph once, as the views of this step; return the mean training loss."""
        config = self.stage.config
        train_mode(self.stage.model.net, self.depth, config.batch_norm)
        losses = []
        for batch in _shuffled_batches(self.stage.division.train, self.batches, config.seed, step):
            pictures = self.stage.views.augmented(batch, step, config.augmentation.strength)
            with torch.no_grad():
                activations = self.boundary.prefix(pictures)
            grades = torch.from_numpy(self.stage.grades[batch]).to(self.stage.device)
            loss = self.loss(self.boundary.suffix(activations), grades)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.head_lr, self.block_lr = (current_lr(self.optimizer, head=head) for head in (True, False))
            self.scheduler.step()
            losses.append(loss.detach() * len(batch))
        mean = float(torch.stack(losses).sum()) / len(self.stage.division.train)
        if not np.isfinite(mean):
            raise NonFiniteLossError(f"the training loss became {mean} in step {step}; a lower learning rate may help")
        return mean

    @torch.inference_mode()
    def predict_all(self) -> LogProbabilities:
        """Return the log-probabilities of each part's plain pictures, in evaluation mode."""
        self.stage.model.net.eval()
        return {part: self._predict(part) for part in PARTS}

    def _predict(self, part: Part) -> NDArray[np.float32]:
        if not len(self.stage.indices(part)):
            return np.empty((0, self.stage.classes), dtype=np.float32)
        logits = torch.cat([self.boundary.suffix(activations) for activations in self._plain_activations(part)])
        return np.asarray(F.log_softmax(logits.float(), dim=1).cpu())

    def _plain_activations(self, part: Part) -> Iterable[Tensor]:
        """Return what the frozen prefix makes of a part's plain pictures, in batches.

        It is the same in every epoch of a phase; without a prefix there is nothing worth keeping.
        """
        if part in self._plain:
            return self._plain[part]
        indices = self.stage.indices(part)
        batches = np.array_split(indices, -(-len(indices) // _EVALUATION_BATCH))
        activations = (self.boundary.prefix(self.stage.views.plain(batch)) for batch in batches)
        return self._plain.setdefault(part, list(activations)) if self.boundary.splits else activations


def _shuffled_batches(train: NDArray[np.int64], batches: int, seed: int, step: int) -> list[NDArray[np.int64]]:
    """Divide the photographs into batches that differ by at most one, so that none is too small for batch norm."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, step], dtype=np.uint64)))
    return np.array_split(generator.permutation(train), batches)


def _score(stage: Stage, part: Part, log_probabilities: NDArray[np.float32]) -> Scores:
    return score(log_probabilities, stage.grades[stage.indices(part)])


def _record(
    trainer: _Trainer,
    phase: Phase,
    step: int,
    epoch: int,
    running_loss: float,
    scores: Mapping[str, Scores],
    seconds: float,
) -> EpochRecord:
    train, validation = scores["train"], scores["validation"]
    return EpochRecord(
        step=step,
        phase=phase,
        epoch=epoch,
        train_accuracy=train.accuracy,
        train_loss=train.loss,
        train_qwk=train.qwk,
        train_balanced_accuracy=train.balanced_accuracy,
        val_accuracy=validation.accuracy,
        val_loss=validation.loss,
        val_qwk=validation.qwk,
        val_balanced_accuracy=validation.balanced_accuracy,
        running_loss=running_loss,
        head_lr=trainer.head_lr,
        block_lr=trainer.block_lr,
        seconds=seconds,
    )
