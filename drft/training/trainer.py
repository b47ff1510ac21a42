"""The training loop of one phase: the optimizer steps of an epoch, and the predictions after it."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from drft.errors import NonFiniteLossError, TrainingError
from drft.feature_cache.cache_file import Activations
from drft.feature_cache.features import Features
from drft.models.devices import loss_scaler
from drft.training.auto_rgn import BATCHES as RGN_BATCHES
from drft.training.auto_rgn import relative_gradient_norms
from drft.training.context import TrainingContext
from drft.training.losses import training_loss
from drft.training.optim import current_lr, make_optimizer, make_scheduler, scale_rates
from drft.training.records import PARTS, LogProbabilities, Part, Phase
from drft.training.regularization.ema import ExponentialMovingAverage
from drft.training.regularization.mixup import MixedBatch, mix, mixed_batches
from drft.training.regularization.penalties import L2SP, classifier_inputs, smallest_singular_value
from drft.training.regularization.sam import sharpness_aware_gradient
from drft.training.step_graph import StepGraphs
from drft.training.unfreezing import Unfreezing


class Trainer:
    """The trained blocks and the head with their optimizer, for the epochs of one phase."""

    def __init__(self, context: TrainingContext, phase: Phase) -> None:
        config = context.config
        self.context = context
        self.phase = phase
        self.settings = config.head_phase if phase == "head" else config.depth_phase
        self.unfreezing = Unfreezing(context.model, config, phase)
        self.lora = self.unfreezing.lora
        self.l2_sp = L2SP(context.model, config.regularization.l2_sp)
        self.l2_sp.replace_weight_decay(self.unfreezing.groups)
        self.ema = ExponentialMovingAverage(config.regularization.ema_decay)
        self.optimizer = make_optimizer(config.optimizer, self.unfreezing.groups)
        self.scaler = loss_scaler(context.network.precision, context.device)
        self.batches = -(-len(context.split.train) // config.batch_size)
        self.scheduler = make_scheduler(
            self.optimizer,
            self.settings.schedule,
            warmup_epochs=self.settings.warmup_epochs,
            epochs=self.settings.epochs,
            updates_per_epoch=self.batches,
        )
        grades = context.grades[context.split.train]
        self.grades = torch.from_numpy(grades).to(context.device)
        self.loss = training_loss(config.loss, grades, context.classes).to(context.device)
        self.head_lr = self.block_lr = 0.0
        self.cached = False
        """Whether the features of the last epoch were in the cache before the epoch began."""
        self._plain: dict[Part, Features] = {}
        self._trained: dict[str, nn.Parameter] = {}
        self._split_at_depth()

    def unfreeze(self, epoch: int) -> None:
        """Make trainable what this epoch of the phase (from 1) trains."""
        if self.unfreezing.advance_to(epoch):
            self._split_at_depth()

    def _split_at_depth(self) -> None:
        """Split the network where its trained part begins now."""
        self.context.model.net.eval()
        self.prefix = self.context.prefix(self.unfreezing.depth, only_this_boundary=self.phase == "head")
        self._plain.clear()
        self.graphs = StepGraphs(self.optimizer, self.context.device) if self._fits_a_graph() else None
        """Replays of optimizer steps on a GPU; None where Python starts every kernel."""

    def train_epoch(self, step: int) -> float:
        """Train on every training image once, augmented; return the mean training loss.

        Args:
            step: number of the epoch through both phases; it selects the augmented views and the batch order.

        Raises:
            NonFiniteLossError: when the mean loss is NaN or infinite, or a gradient that Auto-RGN measures.
            TrainingError: when a batch norm cannot adapt to a batch of one image.
        """
        config, count = self.context.config, len(self.context.split.train)
        inputs = self.prefix.open(self.context.images("train", step, config.augmentation.strength))
        self.cached = inputs.cached
        batches = shuffled_batches(count, self.batches, config.seed, step)
        if self.unfreezing.auto_rgn:
            self._scale_rates(inputs, batches[:RGN_BATCHES])
        for module, training in self.unfreezing.modes.items():
            module.training = training
        named = self.context.model.net.named_parameters()
        self._trained = {name: parameter for name, parameter in named if parameter.requires_grad}
        updating = (module for module, training in self.unfreezing.modes.items() if training)
        statistics = (buffer for module in updating for buffer in module.buffers(recurse=False))
        self.ema.track([*self._trained.values(), *statistics])
        mixed = mixed_batches(batches, config.regularization.feature_mixup, config.seed, step)
        with self.lora.collecting_gradients():
            losses = [self.update(inputs, batch) * len(batch) for batch in mixed]
        mean = float(torch.stack(losses).sum()) / count
        if not np.isfinite(mean):
            raise NonFiniteLossError(f"the training loss became {mean} in epoch {step}; a lower learning rate may help")
        return mean

    def update(self, inputs: Features, batch: MixedBatch) -> Tensor:
        """Make one optimizer step; return the loss of the batch, penalties included.

        Args:
            inputs: what the frozen blocks make of the epoch's views.
            batch: rows of ``inputs``, each with the row that it is mixed with.
        """
        if self.graphs is not None:
            loss = self.graphs.run(self._whole_batch_step, inputs.batch(batch.rows), self._grades_of(batch.rows))
            self._after_step()
            return loss
        config, net = self.context.config.regularization, self.context.model.net

        def forward_backward() -> Tensor:
            """Add the gradient of the batch, in parts that fit into memory; return its loss."""
            self.lora.merge()
            losses = []
            for part in batch.parts(self.context.config.micro_batch):
                activations = inputs.batch(part.rows)
                if part.share < 1:
                    activations = mix(activations, inputs.batch(part.partners), part.share)
                with classifier_inputs(net) as features:
                    outputs = self._train_outputs(activations)
                loss = self._part_loss(outputs, part.rows, batch.rows)
                if part.share < 1:
                    loss = torch.lerp(self._part_loss(outputs, part.partners, batch.partners), loss, part.share)
                if config.bss and features[0].requires_grad:
                    loss = loss + config.bss * smallest_singular_value(features[0]) ** 2 * (len(part) / len(batch))
                torch.autograd.backward(self.scaler.scale(loss))
                losses.append(loss.detach())
            return torch.stack(losses).sum()

        self.optimizer.zero_grad(set_to_none=True)
        if config.sam_rho:
            trained = (parameter for group in self.optimizer.param_groups for parameter in group["params"])
            loss = sharpness_aware_gradient(forward_backward, trained, net, config.sam_rho)
            self.lora.merge()
        else:
            loss = forward_backward()
        penalty = self.l2_sp.penalty(self._trained)
        if penalty is not None:
            torch.autograd.backward(self.scaler.scale(penalty))
            loss = loss + penalty.detach()
        scale = self.scaler.get_scale() if self.ema.decay else 0.0  # waits for the device
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.lora.merge()
        self._after_step(skipped=bool(self.ema.decay) and self.scaler.get_scale() < scale)
        return loss

    def _fits_a_graph(self) -> bool:
        """Return whether a step is the same kernels for every batch, on a GPU."""
        config, regularization = self.context.config, self.context.config.regularization
        return (
            self.context.device.type == "cuda"
            and not self.scaler.is_enabled()
            and config.micro_batch is None
            and not config.backbone.is_function  # its Python code may do something else in every step
            and not self.lora.factors
            and not any((regularization.feature_mixup, regularization.bss, regularization.sam_rho))
            and not any((regularization.l2_sp, regularization.stoch_norm))
        )

    def _whole_batch_step(self, activations: Activations, grades: Tensor) -> Tensor:
        """Make one optimizer step without the parts that only some configurations have; return the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss: Tensor = self.loss(self._train_outputs(activations), grades)
        torch.autograd.backward(loss)
        self.optimizer.step()
        return loss.detach()

    def _train_outputs(self, activations: Activations) -> Tensor:
        """Return the outputs of a forward pass in training mode.

        Raises:
            TrainingError: when a batch norm would get one number for each channel, which has no variance.
        """
        try:
            return self.prefix.suffix(activations)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise TrainingError(
                "a batch norm cannot adapt to one image that has one pixel there: raise batch_size or micro_batch, "
                "so that two images are on the device at once, or set batch_norm to frozen"
            ) from None

    def _after_step(self, *, skipped: bool = False) -> None:
        if not skipped:  # by the loss scaler, which lowers its scale then: the weights are not the result of an update
            self.ema.update()
        self.head_lr, self.block_lr = (current_lr(self.optimizer, head=head) for head in (True, False))
        self.scheduler.step()

    def _grades_of(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the grades of some training images, without waiting for the device."""
        return self.grades[torch.from_numpy(rows).to(self.context.device, non_blocking=True)]

    def _part_loss(self, outputs: Tensor, rows: NDArray[np.int64], batch: NDArray[np.int64]) -> Tensor:
        """Return the share of some rows in the mean loss of their batch, so that the parts of a batch add up to it."""
        grades = self._grades_of(rows)
        loss: Tensor = self.loss(outputs, grades)
        if len(rows) == len(batch):
            return loss
        return loss * (self.loss.share(grades) / self.loss.share(self._grades_of(batch)))

    def _scale_rates(self, inputs: Features, batches: Sequence[NDArray[np.int64]]) -> None:
        """Scale the learning rate of every layer as Auto-RGN does, in evaluation mode to keep running statistics.

        Raises:
            NonFiniteLossError: when a gradient is NaN or infinite.
        """
        parts = [rows[: self.context.config.micro_batch] for rows in batches]
        groups = self.optimizer.param_groups
        while True:
            losses = (self.loss(self.prefix.suffix(inputs.batch(rows)), self.grades[rows]) for rows in parts)
            factors = relative_gradient_norms(groups, map(self.scaler.scale, losses))
            if not any(map(math.isnan, factors.values())):
                break
            if self.scaler.get_scale() <= 1:  # that of no scaler is 1
                raise NonFiniteLossError("the gradient became NaN or infinite; a lower learning rate may help")
            self.scaler.update(self.scaler.get_scale() / 2)  # as it does after a step whose gradients overflow
        scale_rates(self.scheduler, factors)

    @torch.no_grad()
    def predict(self) -> LogProbabilities:
        """Return the log-probabilities of each part's plain images, in evaluation mode.

        Where outputs become probabilities by learned thresholds, these are fitted on the training part alone.

        Raises:
            NonFiniteLossError: when a prediction is NaN.
        """
        model = self.context.model
        model.net.eval()
        outputs = {part: self._outputs(part) for part in PARTS}
        model.probabilities.fit(outputs["train"], self.grades)
        predictions = {part: np.asarray(model.probabilities(logits).cpu()) for part, logits in outputs.items()}
        if any(np.isnan(log_probabilities).any() for log_probabilities in predictions.values()):
            raise NonFiniteLossError("the predictions became NaN; a lower learning rate may help")
        return predictions

    def _outputs(self, part: Part) -> Tensor:
        if part not in self._plain:
            self._plain[part] = self.prefix.open(self.context.images(part))
        features = self._plain[part]
        if not len(features):
            return torch.empty(0, self.context.classes, device=self.context.device)
        batches = self.context.evaluation_batches(len(features))
        return torch.cat([self.prefix.suffix(features.batch(rows)) for rows in batches])


def shuffled_batches(count: int, batches: int, seed: int, step: int) -> list[NDArray[np.int64]]:
    """Divide ``count`` rows at random into batches whose sizes differ by at most one.

    No batch is much smaller than the others, since batch norm needs several images.
    """
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, step], dtype=np.uint64)))
    return np.array_split(generator.permutation(count), batches)
