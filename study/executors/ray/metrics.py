"""What Ray Tune is told of an epoch, and what its loggers write."""

from dataclasses import asdict
from typing import Any

from ray.tune.logger import JsonLoggerCallback, LoggerCallback, TBXLoggerCallback

from drft.config.trial_config import Metric
from drft.training.records import EpochRecord

RENAMED = {"step": "epoch", "epoch": "phase_epoch"}
"""Fields of an ``EpochRecord`` with other names in Tune, where an epoch is counted through both phases."""

_LOGGED = ("epoch", "train_accuracy", "val_accuracy", "gap", "train_loss", "val_loss")
"""What Tune is told of an epoch beside the study's metric: it keeps statistics of each, which takes time."""


def epoch_metrics(record: EpochRecord) -> dict[str, Any]:
    """Return an epoch as Tune and its loggers see it: the fields of the record, renamed, and ``gap``."""
    return {**{RENAMED.get(name, name): value for name, value in asdict(record).items()}, "gap": record.gap}


def logged_metrics(record: EpochRecord, metric: Metric = "accuracy") -> dict[str, Any]:
    """Return what Tune's loggers write of an epoch of a study with this metric."""
    metrics = epoch_metrics(record)
    own = "val_loss" if metric == "nll" else f"val_{metric}"
    return {name: metrics[name] for name in (*_LOGGED, own)}


class HideReports(LoggerCallback):
    """Takes the reports out of the results, which other callbacks write and Tune keeps."""

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Take the report out; so this callback must be the first."""
        del result["report"]


class _EpochsAlone(LoggerCallback):
    """Writes the results of epochs, and not those that bring an actor, a start or an end."""

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """Write the result of an epoch."""
        if result["epoch"]:
            super().log_trial_result(iteration, trial, result)


class JsonOfEpochs(_EpochsAlone, JsonLoggerCallback):
    """Writes ``result.json``."""


class TensorBoardOfEpochs(_EpochsAlone, TBXLoggerCallback):
    """Writes events for TensorBoard."""
