"""Plain Ray Tune with the instant trainer: the cost of a trial in Ray Tune itself.

Trials are functions on reused actors, one actor per node, without a scheduler that stops trials or a searcher that
learns from them. They report the metrics of each epoch, which Tune's loggers write as for a study, and return nothing
else, neither predictions nor tensors.
"""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.logger import JsonLoggerCallback, TBXLoggerCallback

from benchmarks.instant import instant_trainer
from drft.config.trial_config import TrialConfig, with_values
from drft.errors import DrftError
from drft.training.records import EpochRecord
from study.executors import Workload
from study.executors.ray.executor import SETTINGS
from study.executors.ray.metrics import logged_metrics


class TrialTimes(tune.Callback):
    """Records the end times of trials."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record the time."""
        self.ends.append(time.time())


def trainable(config: Mapping[str, Any]) -> None:
    """Run one trial."""
    train = instant_trainer(Workload("none"))

    def report(record: EpochRecord) -> bool:
        tune.report(logged_metrics(record))
        return True

    train(with_values(TrialConfig(), dict(config)), report)


def tune_trials(address: str, trials: int, folder: Path) -> list[float]:
    """Run instant trials with Ray Tune, and return the end time of each.

    Args:
        address: of the cluster.
        trials: how many.
        folder: for Tune's own files.

    Raises:
        DrftError: when a trial fails.
    """
    os.environ.update(SETTINGS)
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        times = TrialTimes()
        loggers: Sequence[Any] = (JsonLoggerCallback, TBXLoggerCallback)
        results = tune.Tuner(
            trainable,
            param_space={"depth": tune.randint(0, 9), "depth_phase.lr": tune.loguniform(1e-5, 1e-2)},
            tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=True, metric="val_accuracy", mode="max"),
            run_config=tune.RunConfig(
                storage_path=str(folder), verbose=0, callbacks=[times, *(logger() for logger in loggers)]
            ),
        ).fit()
    finally:
        ray.shutdown()
    if results.errors or len(times.ends) != trials:
        raise DrftError(f"Ray Tune finished {len(times.ends)} of {trials} trials: {results.errors[:1]}")
    return times.ends
