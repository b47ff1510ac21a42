"""Plain Ray Tune with the instant trainer: what its own machinery takes of each trial.

Trials are functions on reused actors, of which as many live as there are nodes; no scheduler ends them and no searcher
learns from them. They report a score after each epoch and bring nothing else back, neither predictions nor tensors.
"""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune

from benchmarks.instant import instant_trainer
from drft.config.trial_config import TrialConfig, with_values
from drft.errors import DrftError
from study.executors import Workload

SETTINGS: Mapping[str, str] = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_THRESHOLD_S": "1000000",
    "RAY_AIR_NEW_OUTPUT": "0",
}
"""What makes Tune quicker: no log files for each trial, no snapshots of the experiment, no tables on the terminal."""


class TrialTimes(tune.Callback):
    """Notes when trials end."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note it."""
        self.ended.append(time.time())


def trainable(config: Mapping[str, Any]) -> None:
    """Be one trial."""
    train = instant_trainer(Workload("none"))

    def report(record: Any) -> bool:
        tune.report({"val_accuracy": record.val_accuracy})
        return True

    train(with_values(TrialConfig(), dict(config)), report)


def tune_trials(address: str, trials: int, folder: Path) -> list[float]:
    """Run instant trials with Ray Tune, and return when each ended.

    Args:
        address: of the cluster.
        trials: how many.
        folder: where Tune keeps its own files.

    Raises:
        DrftError: when a trial went wrong.
    """
    os.environ.update(SETTINGS)
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        clock = TrialTimes()
        results = tune.Tuner(
            trainable,
            param_space={"depth": tune.randint(0, 9), "depth_phase.lr": tune.loguniform(1e-5, 1e-2)},
            tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=True, metric="val_accuracy", mode="max"),
            run_config=tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=[clock]),
        ).fit()
    finally:
        ray.shutdown()
    if results.errors or len(clock.ended) != trials:
        raise DrftError(f"Ray Tune finished {len(clock.ended)} of {trials} trials: {results.errors[:1]}")
    return clock.ended
