"""Trials in TensorBoard, MLflow or Weights & Biases, for those who watch their other trainings there.

The driver's process writes, in a thread of its own: a logger that is slow, hangs or fails never holds up a study. What
fails is said once, and nothing more is logged. Nothing leaves the machine unless the user's own settings of these
programs (``MLFLOW_TRACKING_URI``, ``WANDB_MODE``) say so.
"""

import importlib.util
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from drft.config.trial_config import TrialConfig
from drft.errors import UsageError
from drft.training.records import EpochRecord, FoldEpoch, TrialResult
from study.callbacks.callback import Callback
from study.callbacks.mlflow import MLflow
from study.callbacks.tensorboard import TensorBoard
from study.callbacks.wandb import WeightsAndBiases
from study.executors.base import Job, Started
from study.results.progress import StudyProgress

_PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
_PATIENCE = 60.0
"""Seconds in which a logger may write out what is left when a run ends."""


class Logger(Protocol):
    """Keeps a record of trials; any method may raise."""

    def started(self, number: int, config: Mapping[str, Any]) -> None:
        """A trial starts, with these settings by their path in TrialConfig."""

    def epoch(self, number: int, step: int, figures: Mapping[str, float]) -> None:
        """A trial ended an epoch."""

    def ended(self, number: int, ending: str, figures: Mapping[str, float]) -> None:
        """A trial is over: ``completed``, ``pruned``, or why it failed; a failed one has no figures."""

    def close(self) -> None:
        """No more will come; trials under way were stopped."""


class NoLogger:
    """Keeps no record."""

    def started(self, number: int, config: Mapping[str, Any]) -> None:
        """Do nothing."""

    def epoch(self, number: int, step: int, figures: Mapping[str, float]) -> None:
        """Do nothing."""

    def ended(self, number: int, ending: str, figures: Mapping[str, float]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


_LOGGERS: dict[str, Callable[[str, Path], Logger]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}


def check_logger(name: str | None) -> None:
    """Refuse a logger whose package is not installed.

    Raises:
        UsageError: saying how to install it.
    """
    if name is not None and importlib.util.find_spec(_PACKAGES[name]) is None:
        raise UsageError(f"--log {name} needs one more package; run: pip install 'drft-study[{name}]'")


class LoggedDisplay:
    """A display that also has trials logged; what the logger does, it does in its own thread.

    Args:
        display: what the user sees.
        name: of the logger.
        study: name of the study.
        folder: the study's folder.
    """

    def __init__(self, display: Callback, name: str, study: str, folder: Path) -> None:
        self._display = display
        self._name = name
        self._open = partial(_LOGGERS[name], study, folder)
        self._tasks: queue.SimpleQueue[Callable[[Logger], None] | None] = queue.SimpleQueue()
        self._fault = ""
        self._said = False
        self._thread = threading.Thread(target=self._work, name="logger", daemon=True)

    def begin(self, progress: StudyProgress, goal: int) -> None:
        """Start the logger."""
        self._thread.start()
        self._display.begin(progress, goal)

    def started(self, job: Job, event: Started) -> None:
        """Log the trial's settings."""
        settings = flat(job.config)
        self._tasks.put(lambda logger: logger.started(job.number, settings))
        self._display.started(job, event)

    def epoch(self, job: Job, record: EpochRecord) -> None:
        """Log the epoch; folds follow one another."""
        figures = {name: float(value) for name, value in asdict(record).items() if isinstance(value, int | float)}
        step = record.step + (record.fold * job.config.steps if isinstance(record, FoldEpoch) else 0)
        self._tasks.put(lambda logger: logger.epoch(job.number, step, figures))
        self._display.epoch(job, record)

    def ended(self, job: Job, outcome: TrialResult | str, progress: StudyProgress) -> None:
        """Log how the trial went."""
        ending, figures = (outcome, {}) if isinstance(outcome, str) else (outcome.ending, final_figures(outcome))
        self._tasks.put(lambda logger: logger.ended(job.number, ending, figures))
        self._display.ended(job, outcome, progress)
        self._say_fault()

    def notice(self, line: str) -> None:
        """Pass on."""
        self._display.notice(line)

    def end(self) -> None:
        """Let the logger write what is left."""
        self._tasks.put(lambda logger: logger.close())
        self._tasks.put(None)
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            self._fault = self._fault or f"it does not end within {_PATIENCE:g} s"
        self._say_fault()
        self._display.end()

    def _work(self) -> None:
        try:
            logger = self._open()
        except Exception as error:  # noqa: BLE001 (whatever a logger does, the study goes on)
            logger = self._give_up(error)
        while (task := self._tasks.get()) is not None:
            try:
                task(logger)
            except Exception as error:  # noqa: BLE001 (likewise)
                logger = self._give_up(error)

    def _give_up(self, error: Exception) -> Logger:
        self._fault = f"{type(error).__name__}: {error}".splitlines()[0]
        return NoLogger()

    def _say_fault(self) -> None:
        if self._fault and not self._said:
            self._said = True
            self._display.notice(f"--log {self._name} does not work, and nothing more is logged ({self._fault})")


def flat(config: TrialConfig) -> dict[str, Any]:
    """Return the settings of a configuration by their path."""
    return dict(_leaves(config.model_dump(mode="json"), ""))


def final_figures(result: TrialResult) -> dict[str, float]:
    """Return what is said of a finished trial."""
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


def _leaves(part: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in part.items():
        found += _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return found
