"""The floor: bare arithmetic of trained suffixes, on random tensors, with nothing around it.

A trial can cost no less than its optimizer steps and its evaluations of the part of the network that it trains. Both
are measured here alone, with as many processes and threads at the same time as a study has workers and threads.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing.synchronize import Barrier

import torch
import torch.nn.functional as F
from pydantic import BaseModel
from torch import Tensor

from drft.config.trial_config import TrialConfig
from drft.feature_cache.fuse_batch_norm import fold_batch_norms
from drft.feature_cache.split_model import SplitModel, split_model
from drft.models.backbone import build_model
from drft.models.blocks import list_blocks, set_trainable, train_mode
from drft.models.devices import autocast, pick_precision
from drft.training.optim import make_optimizer, parameter_groups

_EVALUATION_BATCH = 16
_WARMUP = 2
_LEAST = 4
"""Repetitions of a step at least."""


class Times(BaseModel):
    """Seconds of the bare arithmetic at one depth."""

    step: float
    """One optimizer step on one batch: forward, backward and update of the trained suffix."""
    image: float
    """The suffix evaluated on one image's activations, in batches of 16."""


@dataclass(frozen=True, slots=True)
class TrialWorkload:
    """How many images a trial trains on and evaluates after each epoch."""

    trained: int
    evaluated: int


def trial_floor(config: TrialConfig, times: Mapping[int, Times], images: TrialWorkload) -> float:
    """Return the seconds of bare arithmetic in one trial: head phase at depth 0, depth phase at its depth."""
    updates = -(-images.trained // config.batch_size)

    def epoch(depth: int) -> float:
        return updates * times[depth].step + images.evaluated * times[depth].image

    return config.head_phase.epochs * epoch(0) + config.depth_phase.epochs * epoch(config.depth)


def measure(config: TrialConfig, classes: int, *, workers: int, threads: int, seconds: float) -> dict[int, Times]:
    """Measure every depth, in so many processes at the same time.

    Args:
        config: its backbone, sizes, optimizer and batch norm policy count; its depth does not.
        classes: outputs of the head.
        workers: processes that compute at the same time; their mean is returned.
        threads: threads of each.
        seconds: how long each step is repeated.
    """
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(workers)
    with context.Pool(workers, _prepare, (together, threads)) as pool:
        # The barrier makes each process take one of the tasks: the first would wait for ever otherwise.
        found = pool.starmap(_measure_depths, [(config, classes, seconds)] * workers, chunksize=1)
        pool.close()
        pool.join()
    return {
        depth: Times(
            step=statistics.mean(one[depth].step for one in found),
            image=statistics.mean(one[depth].image for one in found),
        )
        for depth in found[0]
    }


def suffix(chain: SplitModel, depth: int, image_size: int, batch: int) -> Callable[[], Tensor]:
    """Return what runs the part of a network that a depth trains, on what crosses its boundary.

    Args:
        chain: of a network whose modules are in the mode that the caller wants.
        depth: trained blocks; the whole network runs where it has no boundary there.
        image_size: height and width of the input.
        batch: images in the activations.

    Returns:
        A function that returns the logits, shape (batch, classes).
    """
    noise = torch.randn(batch, 3, image_size, image_size).contiguous(memory_format=torch.channels_last)
    cut = depth if depth in chain.cuts else None
    activations = (noise,) if cut is None else chain.advance((noise,), None, [cut])[cut]
    return partial(chain.suffix, cut, activations)


_together: Barrier


def _prepare(together: Barrier, threads: int) -> None:
    global _together  # noqa: PLW0603 (a barrier can be given to a process only at its start)
    _together = together
    torch.set_num_threads(threads)


def _measure_depths(config: TrialConfig, classes: int, seconds: float) -> dict[int, Times]:
    model = build_model(config, classes)
    model.net.to(memory_format=torch.channels_last)
    # With batch norms as they are, and folded into the convolutions: the floor is whatever is faster at a depth.
    chains = [split_model(model.net, config.image_size, transform) for transform in (None, fold_batch_norms)]
    with autocast(pick_precision(config.precision, torch.device("cpu"), model.net), torch.device("cpu")):
        return {
            depth: _fastest([_measure_depth(config, chain, depth, seconds) for chain in chains])
            for depth in range(len(model.blocks) + 1)
        }


def _fastest(found: Sequence[Times]) -> Times:
    return Times(step=min(one.step for one in found), image=min(one.image for one in found))


def _measure_depth(config: TrialConfig, chain: SplitModel, depth: int, seconds: float) -> Times:
    set_trainable(chain.net, depth)
    train_mode(chain.net, depth, config.batch_norm)
    step = _repeat(_training_step(config, chain, depth), seconds)
    chain.net.eval()
    forward = suffix(chain, depth, config.image_size, _EVALUATION_BATCH)

    @torch.inference_mode()
    def evaluate() -> None:
        forward()

    return Times(step=step, image=_repeat(evaluate, seconds) / _EVALUATION_BATCH)


def _training_step(config: TrialConfig, chain: SplitModel, depth: int) -> Callable[[], None]:
    forward = suffix(chain, depth, config.image_size, config.batch_size)
    blocks = list_blocks(chain.net)[-depth:] if depth else ()
    # A rate too small to move the weights: hundreds of steps towards one grade are no training.
    groups = parameter_groups(chain.net, blocks, head_lr=1e-9, block_lr=1e-9, layer_decay=0.8)
    optimizer = make_optimizer(config.optimizer, groups)
    grades = torch.zeros(config.batch_size, dtype=torch.long)

    def step() -> None:
        loss = F.cross_entropy(forward(), grades)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def _repeat(work: Callable[[], None], seconds: float) -> float:
    """Return the median seconds of one run, all processes having started together."""
    for _ in range(_WARMUP):
        work()
    _together.wait()
    return statistics.median(_durations(work, seconds))


def _durations(work: Callable[[], None], seconds: float) -> Iterator[float]:
    begun = time.perf_counter()
    for done in count():
        if done >= _LEAST and time.perf_counter() - begun >= seconds:
            return
        started = time.perf_counter()
        work()
        yield time.perf_counter() - started
