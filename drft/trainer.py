"""What one phase trains: the steps of an epoch, and the predictions after it."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from drft.devices import loss_scaler
from drft.errors import NonFiniteLossError
from drft.losses import training_loss
from drft.optim import current_lr, make_optimizer, make_scheduler, scale_rates
from drft.prefix import Pictures, Supply
from drft.records import PARTS, Part, Phase
from drft.rgn import BATCHES as RGN_BATCHES
from drft.rgn import relative_gradient_norms
from drft.stage import Stage
from drft.unfreezing import Unfreezing

LogProbabilities = Mapping[Part, NDArray[np.float32]]

_EVALUATION_PIXELS = 32 * 224**2
"""Pixels evaluated at once: so many stay in the processor's caches and outweigh the cost of a call."""


class Trainer:
    """The trained suffix of a network with its optimizer, for the epochs of one phase."""

    def __init__(self, stage: Stage, phase: Phase) -> None:
        self.stage = stage
        self.phase = phase
        self.settings = stage.config.head_phase if phase == "head" else stage.config.depth_phase
        self.unfreezing = Unfreezing(stage.model, stage.config, phase)
        self.optimizer = make_optimizer(stage.config.optimizer, self.unfreezing.groups)
        self.scaler = loss_scaler(stage.network.precision, stage.device)
        self.batches = -(-len(stage.division.train) // stage.config.batch_size)
        self.scheduler = make_scheduler(
            self.optimizer,
            self.settings.schedule,
            warmup_epochs=self.settings.warmup_epochs,
            epochs=self.settings.epochs,
            updates_per_epoch=self.batches,
        )
        grades = stage.grades[stage.division.train]
        self.grades = torch.from_numpy(grades).to(stage.device)
        self.loss = training_loss(stage.config.loss, grades, stage.classes).to(stage.device)
        self.head_lr = self.block_lr = 0.0
        self.cached = False
        self._plain: dict[Part, Supply] = {}
        self._set_depth(self.unfreezing.depth_at(1))

    def unfreeze(self, epoch: int) -> None:
        """Train from now on what this epoch of the phase trains."""
        depth = self.unfreezing.depth_at(epoch)
        if depth != self._depth:
            self._set_depth(depth)

    def _set_depth(self, depth: int) -> None:
        self._depth = depth
        self._modes = self.unfreezing.unfreeze(depth)
        self.stage.model.net.eval()
        self.prefix = self.stage.prefix(depth, passing=self.phase == "head")
        self._plain.clear()

    def train_epoch(self, step: int) -> float:
        """Train on every photograph once, as the views of this step; return the mean training loss."""
        config, train = self.stage.config, self.stage.division.train
        views = self.prefix.open(Pictures(train, step, config.augmentation.strength))
        self.cached = views.cached
        batches = _shuffled_batches(len(train), self.batches, config.seed, step)
        if self.unfreezing.by_layer:
            self._scale_rates(views, batches[:RGN_BATCHES])
        self._set_training_modes()
        with self.unfreezing.updates.learning():
            losses = [self._update(views, rows) * len(rows) for rows in batches]
        mean = float(torch.stack(losses).sum()) / len(train)
        if not np.isfinite(mean):
            raise NonFiniteLossError(f"the training loss became {mean} in step {step}; a lower learning rate may help")
        return mean

    def _scale_rates(self, views: Supply, batches: Sequence[NDArray[np.int64]]) -> None:
        """Let layers learn as Auto-RGN says; in evaluation mode, so that no running statistic moves."""
        some = (rows[: self.stage.config.micro_batch] for rows in batches)
        losses = (self.loss(self.prefix.suffix(views.batch(rows)), self.grades[rows]) for rows in some)
        scaled = map(self.scaler.scale, losses)
        scale_rates(self.scheduler, relative_gradient_norms(self.optimizer.param_groups, scaled))

    def _update(self, views: Supply, batch: NDArray[np.int64]) -> Tensor:
        """Make one optimizer step on a batch, in parts that fit into memory; return the batch's loss."""
        self.optimizer.zero_grad(set_to_none=True)
        parts = np.array_split(batch, -(-len(batch) // (self.stage.config.micro_batch or len(batch))))
        losses = []
        for rows in parts:
            loss = self.loss(self.prefix.suffix(views.batch(rows)), self.grades[rows])
            if len(parts) > 1:
                loss = loss * (self.loss.share(self.grades[rows]) / self.loss.share(self.grades[batch]))
            self.scaler.scale(loss).backward()
            losses.append(loss.detach())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.unfreezing.updates.merge()
        self.head_lr, self.block_lr = (current_lr(self.optimizer, head=head) for head in (True, False))
        self.scheduler.step()
        return torch.stack(losses).sum()

    def _set_training_modes(self) -> None:
        for module, training in self._modes.items():
            module.training = training

    def predict_all(self) -> LogProbabilities:
        """Return the log-probabilities of each part's plain pictures, in evaluation mode."""
        self.stage.model.net.eval()
        return {part: self._predict(part) for part in PARTS}

    @torch.no_grad()
    def _predict(self, part: Part) -> NDArray[np.float32]:
        if part not in self._plain:
            self._plain[part] = self.prefix.open(Pictures(self.stage.indices(part)))
        pictures = self._plain[part]
        if not len(pictures):
            return np.empty((0, self.stage.classes), dtype=np.float32)
        batches = np.array_split(
            np.arange(len(pictures)), -(-len(pictures) * self.stage.config.image_size**2 // _EVALUATION_PIXELS)
        )
        logits = torch.cat([self.prefix.suffix(pictures.batch(rows)) for rows in batches])
        return np.asarray(F.log_softmax(logits, dim=1).cpu())


def _shuffled_batches(count: int, batches: int, seed: int, step: int) -> list[NDArray[np.int64]]:
    """Divide the training part's rows into batches that differ by at most one: none is too small for batch norm."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, step], dtype=np.uint64)))
    return np.array_split(generator.permutation(count), batches)
