"""The training that workers run by default. Only workers import this module: torch would delay the tuner."""

import os
import threading

import torch
from tqdm import tqdm

from drft.config.trial_config import TrialConfig
from drft.data import open_dataset
from drft.errors import DrftError
from drft.training.cross_validation import run_folds
from drft.training.records import TrialResult
from drft.training.session import TrainingSession
from drft.training.trial import run_trial
from study.executors.base import Workload
from study.executors.worker import OnEpoch, Trainer

_CONTEXT = 600 * 2**20
"""Bytes of GPU memory that CUDA takes for each process, besides what its tensors take."""


def two_phase_trainer(workload: Workload) -> Trainer:
    """Open the data set and a session; the returned function runs one two-phase fine-tuning in it.

    Raises:
        DrftError: when the worker has a GPU that torch cannot use.
    """
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
    if gpu and not torch.cuda.is_available():
        raise DrftError(f"GPU {gpu} does not answer")  # else the trials would silently train on the CPU
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # torch was imported before this was set
    if torch.cuda.is_available() and workload.trials_per_gpu > 1:
        # A trial that needs more than its share fails itself, instead of the trial that next needs memory.
        share, overhead = 1 / workload.trials_per_gpu, _CONTEXT / torch.cuda.get_device_properties().total_memory
        torch.cuda.set_per_process_memory_fraction(max(share - overhead, share / 2))
    tqdm.set_lock(threading.RLock())  # torch.fx has bars; tqdm's own lock is a semaphore that outlives a kill
    options = dict(workload.source_options)
    dataset = workload.dataset or open_dataset(workload.source, options=options, cache_dir=workload.cache_dir)
    session = TrainingSession(
        dataset,
        cache_dir=workload.cache_dir,
        cache_size=workload.cache_size,
        processes=workload.workers,
        networks=workload.networks,
    )

    def train(config: TrialConfig, on_epoch: OnEpoch) -> TrialResult:
        return run_folds(config, session, on_epoch) if config.split.every_fold else run_trial(config, session, on_epoch)

    return train
