"""What one phase trains: the steps of an epoch, and the predictions after it."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drft.errors import NonFiniteLossError
from drft.feature_cache.features import Features
from drft.models.devices import loss_scaler
from drft.training.auto_rgn import BATCHES as RGN_BATCHES
from drft.training.auto_rgn import relative_gradient_norms
from drft.training.context import TrainingContext
from drft.training.losses import training_loss
from drft.training.optim import current_lr, make_optimizer, make_scheduler, scale_rates
from drft.training.records import PARTS, Part, Phase
from drft.training.regularization.ema import ExponentialMovingAverage
from drft.training.regularization.mixup import MixedBatch, mix, mixed_batches
from drft.training.regularization.penalties import L2SP, classifier_inputs, weakest_direction
from drft.training.regularization.sam import sharpness_aware_gradient
from drft.training.unfreezing import Unfreezing

LogProbabilities = Mapping[Part, NDArray[np.float32]]


class Trainer:
    """The trained suffix of a network with its optimizer, for the epochs of one phase."""

    def __init__(self, context: TrainingContext, phase: Phase) -> None:
        self.context = context
        self.phase = phase
        self.settings = context.config.head_phase if phase == "head" else context.config.depth_phase
        self.unfreezing = Unfreezing(context.model, context.config, phase)
        self.start = L2SP(context.model, context.config.regularization.l2_sp)
        self.start.replace_decay(self.unfreezing.groups)
        self.average = ExponentialMovingAverage(context.config.regularization.ema_decay)
        self.optimizer = make_optimizer(context.config.optimizer, self.unfreezing.groups)
        self.scaler = loss_scaler(context.network.precision, context.device)
        self.batches = -(-len(context.split.train) // context.config.batch_size)
        self.scheduler = make_scheduler(
            self.optimizer,
            self.settings.schedule,
            warmup_epochs=self.settings.warmup_epochs,
            epochs=self.settings.epochs,
            updates_per_epoch=self.batches,
        )
        grades = context.grades[context.split.train]
        self.grades = torch.from_numpy(grades).to(context.device)
        self.loss = training_loss(context.config.loss, grades, context.classes).to(context.device)
        self.head_lr = self.block_lr = 0.0
        self.cached = False
        self._plain: dict[Part, Features] = {}
        self._open_boundary()

    def unfreeze(self, epoch: int) -> None:
        """Train from now on what this epoch of the phase trains."""
        if self.unfreezing.come_to(epoch):
            self._open_boundary()

    def _open_boundary(self) -> None:
        self.context.model.net.eval()
        self.prefix = self.context.prefix(self.unfreezing.depth, passing=self.phase == "head")
        self._plain.clear()

    def train_epoch(self, step: int) -> float:
        """Train on every image once, as the views of this step; return the mean training loss."""
        config, train = self.context.config, self.context.split.train
        views = self.prefix.open(self.context.images("train", step, config.augmentation.strength))
        self.cached = views.cached
        batches = _shuffled_batches(len(train), self.batches, config.seed, step)
        if self.unfreezing.by_layer:
            self._scale_rates(views, batches[:RGN_BATCHES])
        self._set_training_modes()
        self._follow_trained()
        mixed = mixed_batches(batches, config.regularization.feature_mixup, config.seed, step)
        with self.unfreezing.updates.learning():
            losses = [self._update(views, batch) * len(batch) for batch in mixed]
        mean = float(torch.stack(losses).sum()) / len(train)
        if not np.isfinite(mean):
            raise NonFiniteLossError(f"the training loss became {mean} in step {step}; a lower learning rate may help")
        return mean

    def _scale_rates(self, views: Features, batches: Sequence[NDArray[np.int64]]) -> None:
        """Let layers learn as Auto-RGN says; in evaluation mode, so that no running statistic moves."""
        some = (rows[: self.context.config.micro_batch] for rows in batches)
        losses = (self.loss(self.prefix.suffix(views.batch(rows)), self.grades[rows]) for rows in some)
        scaled = map(self.scaler.scale, losses)
        scale_rates(self.scheduler, relative_gradient_norms(self.optimizer.param_groups, scaled))

    def _update(self, views: Features, batch: MixedBatch) -> Tensor:
        """Make one optimizer step on a batch; return the batch's loss, penalties included."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._add_gradient(views, batch) + self._pull_to_start()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.unfreezing.updates.merge()
        self.average.update()
        self.head_lr, self.block_lr = (current_lr(self.optimizer, head=head) for head in (True, False))
        self.scheduler.step()
        return loss

    def _add_gradient(self, views: Features, batch: MixedBatch) -> Tensor:
        """Leave the gradient of a batch in the trained parameters; return its loss."""
        rho, updates = self.context.config.regularization.sam_rho, self.unfreezing.updates
        if not rho:
            return self._backward(views, batch)

        def passed() -> Tensor:
            updates.merge()
            return self._backward(views, batch)

        parameters = (parameter for group in self.optimizer.param_groups for parameter in group["params"])
        loss = sharpness_aware_gradient(passed, parameters, self.context.model.net, rho)
        updates.merge()
        return loss

    def _backward(self, views: Features, batch: MixedBatch) -> Tensor:
        """Add up the gradients of a batch, in parts that fit into memory; return its loss."""
        losses = []
        for part in batch.parts(self.context.config.micro_batch):
            loss = self._part_loss(views, part, batch)
            torch.autograd.backward(self.scaler.scale(loss))
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _part_loss(self, views: Features, part: MixedBatch, batch: MixedBatch) -> Tensor:
        """Return what a part adds to the loss of its batch: mixed, and with the penalty on its features."""
        shrinkage = self.context.config.regularization.bss
        activations = views.batch(part.rows)
        if part.share < 1:
            activations = mix(activations, views.batch(part.partners), part.share)
        with classifier_inputs(self.context.model.net) as seen:
            outputs = self.prefix.suffix(activations)
        loss = self._mean_loss(outputs, part.rows, batch.rows)
        if part.share < 1:
            loss = torch.lerp(self._mean_loss(outputs, part.partners, batch.partners), loss, part.share)
        if shrinkage and seen[0].requires_grad:
            loss = loss + shrinkage * weakest_direction(seen[0]) * (len(part) / len(batch))
        return loss

    def _mean_loss(self, outputs: Tensor, rows: NDArray[np.int64], batch: NDArray[np.int64]) -> Tensor:
        """Return what some rows of a batch add to its mean loss."""
        loss: Tensor = self.loss(outputs, self.grades[rows])
        if len(rows) == len(batch):
            return loss
        return loss * (self.loss.share(self.grades[rows]) / self.loss.share(self.grades[batch]))

    def _pull_to_start(self) -> Tensor | float:
        """Add the gradient of L2-SP, once per update and at the weights themselves; return the penalty."""
        penalty = self.start.penalty(self._trained)
        if penalty is None:
            return 0.0
        torch.autograd.backward(self.scaler.scale(penalty))
        return penalty.detach()

    def _set_training_modes(self) -> None:
        for module, training in self.unfreezing.modes.items():
            module.training = training

    def _follow_trained(self) -> None:
        """Find what this epoch trains, and average what of it is not averaged already."""
        named = self.context.model.net.named_parameters()
        self._trained = {name: parameter for name, parameter in named if parameter.requires_grad}
        moving = (module for module, training in self.unfreezing.modes.items() if training)
        statistics = (buffer for module in moving for buffer in module.buffers(recurse=False))
        self.average.follow([*self._trained.values(), *statistics])

    def predict_all(self) -> LogProbabilities:
        """Return the log-probabilities of each part's plain images, in evaluation mode.

        What the link learns, it learns from the training part alone.
        """
        model = self.context.model
        model.net.eval()
        outputs = {part: self._outputs(part) for part in PARTS}
        model.link.fit(outputs["train"], self.grades)
        return {part: np.asarray(model.link(told).cpu()) for part, told in outputs.items()}

    @torch.no_grad()
    def _outputs(self, part: Part) -> Tensor:
        if part not in self._plain:
            self._plain[part] = self.prefix.open(self.context.images(part))
        images = self._plain[part]
        if not len(images):
            return torch.empty(0, self.context.classes, device=self.context.device)
        batches = self.context.evaluation_batches(len(images))
        return torch.cat([self.prefix.suffix(images.batch(rows)) for rows in batches])


def _shuffled_batches(count: int, batches: int, seed: int, step: int) -> list[NDArray[np.int64]]:
    """Divide the training part's rows into batches that differ by at most one: none is too small for batch norm."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, step], dtype=np.uint64)))
    return np.array_split(generator.permutation(count), batches)
