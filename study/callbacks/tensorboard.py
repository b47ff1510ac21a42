"""Log trials to TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from study.callbacks.logger import Logger


class TensorBoardLogger(Logger):
    """One run per trial in ``FOLDER/tensorboard/0042``; show them with ``tensorboard --logdir FOLDER/tensorboard``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tensorboard"
        self._writers: dict[int, Any] = {}
        self._configs: dict[int, Mapping[str, Any]] = {}

    def begin_trial(self, number: int, config: Mapping[str, Any]) -> None:
        """Open the run of the trial."""
        self._writers[number] = SummaryWriter(str(self._folder / f"{number:04d}"))
        self._configs[number] = config

    def log_epoch(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        """Write each metric as a scalar."""
        for name, value in metrics.items():
            self._writers[number].add_scalar(name, value, step)
        self._writers[number].flush()

    def end_trial(self, number: int, ending: str, metrics: Mapping[str, float]) -> None:
        """Write settings and final metrics for the HPARAMS tab, and close the run."""
        settings = {name: value for name, value in self._configs.pop(number).items() if value is not None}
        writer = self._writers.pop(number)
        writer.add_text("ending", ending)
        writer.add_hparams(settings, {f"final/{name}": value for name, value in metrics.items()}, name="final")
        writer.close()

    def close(self) -> None:
        """Close the runs of trials that were stopped."""
        for writer in self._writers.values():
            writer.close()
