"""Log trials to TensorBoard, MLflow or Weights & Biases.

The tuner's process logs in a thread of its own, so a logger that is slow, hangs or fails does not delay a study. An
error is shown once, and logging stops. Nothing leaves the machine unless the user's settings of these programs
(``MLFLOW_TRACKING_URI``, ``WANDB_MODE``) say so.
"""

import importlib.util
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drft.config.trial_config import flat_settings
from drft.errors import UsageError, one_line
from drft.extras import install_command
from drft.training.records import EpochRecord, FoldEpoch, TrialResult
from study.callbacks.callback import Callback
from study.callbacks.logger import Logger
from study.callbacks.names import Log
from study.executors.base import Job, Started
from study.results.progress import StudyProgress

_PACKAGES: Mapping[Log, str] = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
_CLOSING_SECONDS = 60.0
"""Time for a logger to write what is left when a run ends."""


def check_logger(name: Log | None) -> None:
    """Refuse a logger whose package is not installed.

    Raises:
        UsageError: with the command that installs it.
    """
    if name is not None and importlib.util.find_spec(_PACKAGES[name]) is None:
        raise UsageError(f"--log {name} needs one more package; run: {install_command(name)}")


def open_logger(name: Log, study: str, folder: Path) -> Logger:
    """Return the logger called ``name``; its package is imported only now."""
    match name:
        case "tensorboard":
            from study.callbacks.tensorboard import TensorBoardLogger  # noqa: PLC0415 (an extra)

            return TensorBoardLogger(folder)
        case "mlflow":
            from study.callbacks.mlflow import MLflowLogger  # noqa: PLC0415 (an extra)

            return MLflowLogger(study, folder)
        case "wandb":
            from study.callbacks.wandb import WandbLogger  # noqa: PLC0415 (an extra)

            return WandbLogger(study, folder)


class LoggerCallback(Callback):
    """Passes trials to a logger that runs in its own thread.

    Args:
        name: name of the logger.
        study: name of the study.
        folder: folder of the study.
        notify: shows the user a line when the logger fails.
        ordinal: whether the classes are ordered; kappa is logged for those alone.
    """

    def __init__(self, name: Log, study: str, folder: Path, notify: Callable[[str], None], *, ordinal: bool) -> None:
        self._name = name
        self._study = study
        self._folder = folder
        self._notify = notify
        self._ordinal = ordinal
        self._calls: queue.SimpleQueue[tuple[str, tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._error = ""
        self._error_shown = False
        self._thread = threading.Thread(target=self._run, name="logger", daemon=True)

    def on_study_begin(self, progress: StudyProgress, goal: int) -> None:
        """Start the logger."""
        self._thread.start()

    def on_trial_begin(self, job: Job, event: Started) -> None:
        """Log the settings of the trial."""
        self._calls.put(("begin_trial", (job.number, flat_settings(job.config.model_dump(mode="json")))))

    def on_epoch(self, job: Job, record: EpochRecord) -> None:
        """Log the epoch; the epochs of the folds follow one another."""
        metrics = {name: float(value) for name, value in asdict(record).items() if isinstance(value, int | float)}
        step = record.step + (record.fold * job.config.steps if isinstance(record, FoldEpoch) else 0)
        self._calls.put(("log_epoch", (job.number, step, self._meaningful(metrics))))

    def on_trial_end(self, job: Job, outcome: TrialResult | str, progress: StudyProgress) -> None:
        """Log the result of the trial."""
        if isinstance(outcome, str):
            self._calls.put(("end_trial", (job.number, outcome, {})))
        else:
            self._calls.put(("end_trial", (job.number, outcome.ending, self._meaningful(final_metrics(outcome)))))
        self._show_error()

    def on_study_end(self) -> None:
        """Wait until the logger has written what is left."""
        self._calls.put(("close", ()))
        self._calls.put(None)
        if self._thread.ident is not None:
            self._thread.join(_CLOSING_SECONDS)
        if self._thread.is_alive():
            self._error = self._error or f"it does not end within {_CLOSING_SECONDS:g} s"
        self._show_error()

    def _meaningful(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return the metrics without kappa where the classes are not ordered."""
        return {name: value for name, value in metrics.items() if self._ordinal or "qwk" not in name}

    def _run(self) -> None:
        logger = Logger()
        try:
            logger = open_logger(self._name, self._study, self._folder)
        except Exception as error:  # noqa: BLE001 (no error of a logger may stop the study)
            self._error = one_line(error)
        while (call := self._calls.get()) is not None:
            method, arguments = call
            try:
                getattr(logger, method)(*arguments)
            except Exception as error:  # noqa: BLE001 (likewise)
                self._error, logger = one_line(error), Logger()

    def _show_error(self) -> None:
        if self._error and not self._error_shown:
            self._error_shown = True
            self._notify(f"--log {self._name} does not work, and nothing more is logged ({self._error})")


def final_metrics(result: TrialResult) -> dict[str, float]:
    """Return the metrics of a finished trial at its best and last epoch."""
    best, last = result.best, result.last
    return {
        "best_step": float(best.step),
        "val_accuracy_best": best.val_accuracy,
        "val_qwk_best": best.val_qwk,
        "train_accuracy_best": best.train_accuracy,
        "gap_best": best.gap,
        "val_accuracy_last": last.val_accuracy,
        "train_accuracy_last": last.train_accuracy,
        "gap_last": last.gap,
        "seconds": result.seconds,
    }
