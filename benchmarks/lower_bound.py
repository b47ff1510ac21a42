"""Lower bound of a trial's time: the compute time of its trained blocks, on random tensors and with nothing else.

A trial cannot take less than its optimizer steps and its evaluations of the blocks that it trains. Both are measured
here, in as many processes and threads at the same time as a study has workers and threads.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.synchronize import Barrier

import torch
import torch.nn.functional as F
from pydantic import BaseModel
from torch import Tensor

from benchmarks.plan import BenchmarkPlan
from drft.config.trial_config import TrialConfig
from drft.data import ImageDataset, stratified_split
from drft.feature_cache.fuse_batch_norm import fold_batch_norms
from drft.feature_cache.split_model import SplitModel, split_model
from drft.models.backbone import build_model
from drft.models.blocks import list_blocks, set_trainable, train_mode
from drft.models.devices import autocast, pick_precision
from drft.training.optim import make_optimizer, parameter_groups

_EVALUATION_BATCH = 16
_WARMUP = 2
_MIN_REPETITIONS = 4


class ComputeTimes(BaseModel):
    """Compute seconds at one depth."""

    step: float
    """One optimizer step on one batch: forward, backward and update of the trained blocks."""
    image: float
    """Forward pass of the trained blocks for one image, in batches of 16."""


def lower_bound(config: TrialConfig, times: Mapping[int, ComputeTimes], *, trained: int, evaluated: int) -> float:
    """Return the compute seconds of one trial: head phase at depth 0, depth phase at its depth.

    Args:
        config: the trial.
        times: by depth.
        trained: images of the training part.
        evaluated: images that are evaluated after each epoch.
    """
    updates = -(-trained // config.batch_size)

    def epoch(depth: int) -> float:
        return updates * times[depth].step + evaluated * times[depth].image

    return config.head_phase.epochs * epoch(0) + config.depth_phase.epochs * epoch(config.depth)


def lower_bounds(
    plan: BenchmarkPlan,
    dataset: ImageDataset,
    times: Mapping[int, ComputeTimes],
    *,
    workers: int = 1,
    test: bool = True,
) -> dict[int, float]:
    """Return the compute seconds of every trial of a plan by number, divided by the workers that run in parallel."""
    split = stratified_split(dataset, plan.trials[0].split)
    evaluated = len(split.train) + len(split.validation) + (len(split.test) if test else 0)
    return {
        number: lower_bound(config, times, trained=len(split.train), evaluated=evaluated) / workers
        for number, config in enumerate(plan.trials)
    }


def measure_compute_times(
    config: TrialConfig, classes: int, *, workers: int, threads: int, seconds: float
) -> dict[int, ComputeTimes]:
    """Measure every depth in several processes at the same time.

    Args:
        config: its backbone, sizes, optimizer and batch norm policy are used; its depth is not.
        classes: outputs of the head.
        workers: processes that compute at the same time; their mean is returned.
        threads: threads of each process.
        seconds: how long each step is repeated.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(workers)
    with context.Pool(workers, _initialize, (barrier, threads)) as pool:
        # Each process gets exactly one task: a process that waits at the barrier takes no second one.
        measured = pool.starmap(_measure_depths, [(config, classes, seconds)] * workers, chunksize=1)
        pool.close()
        pool.join()
    return {
        depth: ComputeTimes(
            step=statistics.mean(times[depth].step for times in measured),
            image=statistics.mean(times[depth].image for times in measured),
        )
        for depth in measured[0]
    }


_barrier: Barrier


def _initialize(barrier: Barrier, threads: int) -> None:
    global _barrier  # noqa: PLW0603 (a barrier can be given to a process only at its start)
    _barrier = barrier
    torch.set_num_threads(threads)


def _measure_depths(config: TrialConfig, classes: int, seconds: float) -> dict[int, ComputeTimes]:
    model = build_model(config, classes)
    model.net.to(memory_format=torch.channels_last)
    # Unchanged batch norms, and batch norms folded into the convolutions: the faster one is the bound at a depth.
    networks = [split_model(model.net, config.image_size, transform) for transform in (None, fold_batch_norms)]
    device, fastest = torch.device("cpu"), {}
    with autocast(pick_precision(config.precision, device, model.net), device):
        for depth in range(len(model.blocks) + 1):
            times = [_measure_depth(config, network, depth, seconds) for network in networks]
            fastest[depth] = ComputeTimes(step=min(t.step for t in times), image=min(t.image for t in times))
    return fastest


def _measure_depth(config: TrialConfig, network: SplitModel, depth: int, seconds: float) -> ComputeTimes:
    set_trainable(network.net, depth)
    train_mode(network.net, depth, config.batch_norm)
    step = _median_seconds(_training_step(config, network, depth), seconds)
    network.net.eval()
    forward = _trained_part(network, depth, config.image_size, _EVALUATION_BATCH)

    @torch.inference_mode()
    def evaluate() -> None:
        forward()

    return ComputeTimes(step=step, image=_median_seconds(evaluate, seconds) / _EVALUATION_BATCH)


def _training_step(config: TrialConfig, network: SplitModel, depth: int) -> Callable[[], None]:
    forward = _trained_part(network, depth, config.image_size, config.batch_size)
    blocks = list_blocks(network.net)[-depth:] if depth else ()
    # A learning rate too small to change the weights: hundreds of steps towards one class would let them diverge.
    groups = parameter_groups(network.net, blocks, head_lr=1e-9, block_lr=1e-9, layer_decay=0.8)
    optimizer = make_optimizer(config.optimizer, groups)
    grades = torch.zeros(config.batch_size, dtype=torch.long)

    def step() -> None:
        loss = F.cross_entropy(forward(), grades)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()

    return step


def _trained_part(network: SplitModel, depth: int, image_size: int, batch: int) -> Callable[[], Tensor]:
    """Return a function that runs the trained blocks on random activations and returns logits, (batch, classes).

    The whole network runs where it has no boundary at this depth.
    """
    noise = torch.randn(batch, 3, image_size, image_size).contiguous(memory_format=torch.channels_last)
    cut = depth if depth in network.cuts else None
    activations = (noise,) if cut is None else network.advance((noise,), None, [cut])[cut]
    return partial(network.suffix, cut, activations)


def _median_seconds(work: Callable[[], None], seconds: float) -> float:
    """Return the median seconds of one call; all processes start together."""
    for _ in range(_WARMUP):
        work()
    _barrier.wait()
    durations: list[float] = []
    begun = time.perf_counter()
    while len(durations) < _MIN_REPETITIONS or time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        work()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)
