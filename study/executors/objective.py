"""What workers do unless told otherwise. Imported for workers only: torch is not for the driver to wait for."""

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


def two_phase_trainer(workload: Workload) -> Trainer:
    """Open the data set once, on a workbench; what is returned runs one two-phase fine-tuning on it."""
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
    if gpu and not torch.cuda.is_available():
        raise DrftError(f"GPU {gpu} does not answer")  # or its trials would be trained on the CPU, unasked
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # torch was imported before the worker had its share
    if torch.cuda.is_available() and workload.trials_per_gpu > 1:
        # One that needs more than its share fails alone, and not whoever asks for memory next.
        torch.cuda.set_per_process_memory_fraction(1 / workload.trials_per_gpu)
    tqdm.set_lock(threading.RLock())  # torch.fx makes bars; their own lock is the system's and survives Ctrl-C
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
