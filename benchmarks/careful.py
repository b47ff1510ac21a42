"""The careful peer: images decoded once and kept in memory, augmented in batches.

Frozen blocks require no gradient, so autograd records nothing for them, exactly as under ``no_grad``. Views, batches,
initial head, loss and optimizer are those of drft-study, so the curves of both can be compared epoch by epoch.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.peer_measurement import EpochScores, ProgramMeasurement, run_trials
from benchmarks.plain import EVALUATION_BATCH, score
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


class CarefulPeer:
    """Trains configurations on images in memory.

    Args:
        dataset: the images.
        images: the same images decoded, uint8, shape (images, size, size, 3).
        first: any of the configurations; they share their split.
    """

    def __init__(self, dataset: ImageDataset, images: NDArray[np.uint8], first: TrialConfig) -> None:
        self._images = images
        self._grades = torch.from_numpy(dataset.labels())
        self._classes = len(dataset.grades)
        self._split = stratified_split(dataset, first.split)

    def train(self, config: TrialConfig) -> list[EpochScores]:
        """Fine-tune in two phases and return the scores of every epoch."""
        torch.manual_seed(config.seed)
        model = build_model(config, self._classes)
        net = model.net.to(memory_format=torch.channels_last)
        views = Views(self._images, model.mean, model.std, device=torch.device("cpu"), seed=config.augmentation.seed)
        epochs = self._train_phase(config, config.head_phase, net, views, 0, 1)
        return epochs + self._train_phase(config, config.depth_phase, net, views, config.depth, len(epochs) + 1)

    def _train_phase(
        self,
        config: TrialConfig,
        phase: HeadPhaseConfig | DepthPhaseConfig,
        net: nn.Module,
        views: Views,
        depth: int,
        first_step: int,
    ) -> list[EpochScores]:
        set_trainable(net, depth)
        train = self._split.train
        updates = -(-len(train) // config.batch_size)
        deep = phase if isinstance(phase, DepthPhaseConfig) else None
        groups = parameter_groups(
            net,
            list_blocks(net)[-depth:] if depth else (),
            head_lr=deep.head_lr if deep else phase.lr,
            block_lr=phase.lr,
            layer_decay=deep.layer_decay if deep else 1.0,
        )
        optimizer = make_optimizer(config.optimizer, groups)
        scheduler = make_scheduler(
            optimizer,
            phase.schedule,
            warmup_epochs=phase.warmup_epochs,
            epochs=phase.epochs,
            updates_per_epoch=updates,
        )
        loss_of = training_loss(config.loss, self._grades[train].numpy(), self._classes)
        epochs = []
        for step in range(first_step, first_step + phase.epochs):
            train_mode(net, depth, config.batch_norm)
            # The generator of drft-study: the same batches in the same order.
            generator = np.random.Generator(np.random.Philox(key=np.array([config.seed, step], dtype=np.uint64)))
            for batch in np.array_split(generator.permutation(train), updates):
                images = views.normalize(views.augmented(batch, step, config.augmentation.strength))
                loss = loss_of(net(images), self._grades[batch])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                scheduler.step()
            epochs.append(self._evaluate(net, views, step))
        return epochs

    @torch.inference_mode()
    def _evaluate(self, net: nn.Module, views: Views, step: int) -> EpochScores:
        net.eval()
        indices = np.concatenate([self._split.train, self._split.validation])
        batches = np.array_split(indices, -(-len(indices) // EVALUATION_BATCH))
        logits = torch.cat([net(views.normalize(views.plain(batch))) for batch in batches])
        return score(logits, self._grades[indices], len(self._split.train), step)


def run(plan: BenchmarkPlan) -> ProgramMeasurement:
    """Decode all images, then run the chosen trials."""
    dataset = plan.dataset()
    size = plan.trials[0].image_size
    started = time.perf_counter()
    with ThreadPoolExecutor() as pool:  # Pillow releases the interpreter lock while it decodes
        images = np.stack(list(pool.map(lambda image: decode(image.path, size), dataset.images)))
    setup = time.perf_counter() - started
    trials, seconds = run_trials(plan, CarefulPeer(dataset, images, plan.trials[0]).train)
    return ProgramMeasurement(setup_seconds=setup, seconds=seconds, trials=trials, threads=torch.get_num_threads())
