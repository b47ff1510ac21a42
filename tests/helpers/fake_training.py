"""A trainer for the workers of tests. It trains nothing, and takes no time.

The weight decay scripts the training: 0 means that it succeeds, each of the constants below that it fails in one way.
"""

import fcntl
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np

from drft.config.trial_config import TrialConfig
from drft.errors import NonFiniteLossError
from drft.training.records import EpochRecord, Predictions, TrialResult, best_record

RAISES, DIES, DIVERGES, HANGS, LEAVES, STARVES, BREAKS = 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0
FAULTS, EXPLODES, WAITS, RANTS, SWELLS = 8.0, 9.0, 10.0, 11.0, 12.0

RANT = "\udcff\0 [bold] " + 2_000_000 * "!"
"""A long text with a character that no file can store, one that no database can store, and terminal markup."""

SIGNALS = {DIES: signal.SIGKILL, FAULTS: signal.SIGSEGV}
ERRORS = {
    RAISES: (ValueError, "the loss went astray\nand more"),
    EXPLODES: (NonFiniteLossError, "the training loss became nan at step 2"),
    RANTS: (ValueError, RANT),
    BREAKS: (RuntimeError, "CUDA error: unspecified launch failure"),
}

MANY = 1000
"""Images in each part of a training with ``SWELLS``."""


def scripted(trouble: float = 0.0, *, depth: int = 2, head: int = 2, epochs: int = 3, **values) -> TrialConfig:
    return TrialConfig.model_validate(
        {
            "depth": depth,
            "head_phase": {"epochs": head},
            "depth_phase": {"epochs": epochs},
            "optimizer": {"weight_decay": trouble},
            **values,
        }
    )


def fake_record(config: TrialConfig, step: int, accuracy: float | None = None) -> EpochRecord:
    """Validation accuracy peaks at epoch 3 and rises with depth; training accuracy keeps rising."""
    head = config.head_phase.epochs
    score = 0.5 + 0.01 * config.depth - 0.02 * abs(step - 3) if accuracy is None else accuracy
    phase, epoch = ("head", step) if step <= head else ("depth", step - head)
    return EpochRecord(
        step=step, phase=phase, epoch=epoch, train_accuracy=0.4 + 0.1 * step, train_loss=1 / step, train_qwk=0.5,
        train_balanced_accuracy=0.4, val_accuracy=score, val_loss=1.0, val_qwk=score, val_balanced_accuracy=score,
        running_loss=1.0, head_lr=1e-3, block_lr=1e-4, seconds=0.01,
    )  # fmt: skip


def fake_result(config: TrialConfig, records: list[EpochRecord], ending: str) -> TrialResult:
    parts = ("train", "validation", "test")
    images = MANY if config.optimizer.weight_decay == SWELLS else 2
    predictions = {part: fake_predictions(part, len(records), images) for part in parts}
    state = {"head.weight": np.full((5, 3), config.depth, np.float32)}
    return TrialResult(config, tuple(records), ending, config.depth / 4, config.depth / 8, predictions, state)


def fake_predictions(part: str, steps: int, images: int) -> Predictions:
    """Return random probabilities for each image and epoch."""
    ids = tuple(f"{part}/{image}" for image in range(images))
    probabilities = np.random.default_rng(len(part)).random((steps, images, 5), np.float32)
    return Predictions(ids, np.arange(images) % 5, probabilities.astype(np.float16))


def fake_trainer(workload):
    return partial(train, gate=dict(workload.source_options).get("gate"))


def unfit_trainer(workload):
    from drft.errors import DataError

    raise DataError("the images are gone: bring them back")


def once_trainer(workload):
    """Start once in each slot, and again in all slots but the one with one thread."""
    mark = Path(os.environ["DRFT_TEST_MARKS"], os.environ["OMP_NUM_THREADS"])
    if mark.name == "1" and mark.exists():
        raise RuntimeError("the GPU is gone")
    mark.touch()
    return train


def third_trainer(workload):
    """Start twice, in any slots, and never again."""
    marks = Path(os.environ["DRFT_TEST_MARKS"])
    for name in ("first", "second"):
        try:
            (marks / name).touch(exist_ok=False)
        except FileExistsError:
            continue
        return fake_trainer(workload)
    raise RuntimeError("the GPU is gone")


def broken_trainer(workload):
    os.kill(os.getpid(), signal.SIGKILL)


def train(config: TrialConfig, on_epoch, gate: str | None = None) -> TrialResult:
    records: list[EpochRecord] = []
    for step in range(1, config.head_phase.epochs + config.depth_phase.epochs + 1):
        if step == 2:
            make_trouble(config, gate)
        diverged = config.optimizer.weight_decay == DIVERGES and step == 2
        records.append(fake_record(config, step, float("nan") if diverged else None))
        if not on_epoch(records[-1]):
            return fake_result(config, records, "pruned")
    assert best_record(records, config.metric)
    return fake_result(config, records, "completed")


def make_trouble(config: TrialConfig, gate: str | None) -> None:
    trouble = config.optimizer.weight_decay
    if trouble in SIGNALS:
        os.kill(os.getpid(), SIGNALS[trouble])
    if trouble in ERRORS:
        print("output of a library")
        error, message = ERRORS[trouble]
        raise error(message)
    if trouble == WAITS:
        with Path(gate).open() as file:  # the test holds an exclusive lock
            fcntl.flock(file, fcntl.LOCK_SH)
    if trouble == LEAVES:
        raise SystemExit(3)
    if trouble == STARVES:
        import torch

        raise torch.OutOfMemoryError("CUDA out of memory")
    if trouble == HANGS:
        signal.pause()


def environment_trainer(workload):
    """Report the worker's environment as the message of an exception."""

    def train(config, on_epoch):
        names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
        raise RuntimeError(" ".join(f"{name}={os.environ.get(name)}" for name in names) + f" {Path.cwd()}")

    return train


def thread_trainer(workload):
    """Report the threads of torch as the message of an exception."""
    from study.executors.objective import two_phase_trainer

    two_phase_trainer(workload)

    def train(config, on_epoch):
        import torch

        raise RuntimeError(torch.get_num_threads())

    return train
