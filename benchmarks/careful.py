"""The careful peer: images decoded once and held in memory, augmented in batches, nothing recorded for frozen blocks.

What is frozen requires no gradient, so autograd records nothing there, exactly as under ``no_grad``. Views, batches,
initial head, loss and optimizer are this program's, so the curves of both can be compared step by step.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.peer_measurement import ContestantMeasurement, Epoch, optimize
from benchmarks.plain import score
from benchmarks.plan import BenchmarkPlan
from drft.config.sections import DepthPhaseConfig, HeadPhaseConfig
from drft.config.trial_config import TrialConfig
from drft.data import ImageDataset, stratified_split
from drft.data.augment import Views
from drft.data.images import decode
from drft.models.backbone import build_model
from drft.models.blocks import list_blocks, set_trainable, train_mode
from drft.training.losses import training_loss
from drft.training.optim import make_optimizer, make_scheduler, parameter_groups

_EVALUATION_BATCH = 128


class CarefulPeer:
    """Trains configurations on images in memory.

    Args:
        dataset: the images.
        images: the same decoded, uint8, shape (images, size, size, 3).
        first: any of the configurations; they share their split.
    """

    def __init__(self, dataset: ImageDataset, images: NDArray[np.uint8], first: TrialConfig) -> None:
        self._images = images
        self._grades = torch.from_numpy(dataset.labels())
        self._classes = len(dataset.grades)
        self._split = stratified_split(dataset, first.split)

    def train(self, config: TrialConfig) -> list[Epoch]:
        """Fine-tune in two phases and return the scores of every epoch."""
        torch.manual_seed(config.seed)
        model = build_model(config, self._classes)
        net = model.net.to(memory_format=torch.channels_last)
        device = torch.device("cpu")
        views = Views(self._images, model.mean, model.std, device=device, seed=config.augmentation.seed)
        epochs: list[Epoch] = []
        for settings, depth in ((config.head_phase, 0), (config.depth_phase, config.depth)):
            epochs += self._phase(config, net, views, settings, depth, len(epochs) + 1)
        return epochs

    def _phase(
        self,
        config: TrialConfig,
        net: nn.Module,
        views: Views,
        settings: HeadPhaseConfig | DepthPhaseConfig,
        depth: int,
        first_step: int,
    ) -> list[Epoch]:
        set_trainable(net, depth)
        train = self._split.train
        updates = -(-len(train) // config.batch_size)
        deep = isinstance(settings, DepthPhaseConfig)
        groups = parameter_groups(
            net,
            list_blocks(net)[-depth:] if depth else (),
            head_lr=settings.head_lr if deep else settings.lr,
            block_lr=settings.lr,
            layer_decay=settings.layer_decay if deep else 1.0,
        )
        optimizer = make_optimizer(config.optimizer, groups)
        scheduler = make_scheduler(
            optimizer,
            settings.schedule,
            warmup_epochs=settings.warmup_epochs,
            epochs=settings.epochs,
            updates_per_epoch=updates,
        )
        loss_of = training_loss(config.loss, self._grades[train].numpy(), self._classes)
        epochs = []
        for step in range(first_step, first_step + settings.epochs):
            train_mode(net, depth, config.batch_norm)
            order = np.random.Generator(np.random.Philox(key=np.array([config.seed, step], dtype=np.uint64)))
            for batch in np.array_split(order.permutation(train), updates):
                images = views.normalize(views.augmented(batch, step, config.augmentation.strength))
                loss = loss_of(net(images), self._grades[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
            epochs.append(self._evaluate(net, views, step))
        return epochs

    @torch.inference_mode()
    def _evaluate(self, net: nn.Module, views: Views, step: int) -> Epoch:
        net.eval()
        indices = np.concatenate([self._split.train, self._split.validation])
        batches = np.array_split(indices, -(-len(indices) // _EVALUATION_BATCH))
        logits = torch.cat([net(views.normalize(views.plain(batch))) for batch in batches])
        return score(logits, self._grades[indices], len(self._split.train), step)


def run(plan: BenchmarkPlan) -> ContestantMeasurement:
    """Decode all images, then run the chosen trials."""
    dataset = plan.dataset()
    started = time.perf_counter()
    size = plan.trials[0].image_size
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        images = np.stack(list(pool.map(lambda image: decode(image.path, size), dataset.images)))
    decoded = time.perf_counter() - started
    trials, seconds = optimize(plan, CarefulPeer(dataset, images, plan.trials[0]).train)
    return ContestantMeasurement(setup_seconds=decoded, seconds=seconds, trials=trials, threads=torch.get_num_threads())
