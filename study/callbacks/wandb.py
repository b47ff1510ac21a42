"""Log trials to Weights & Biases."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from study.callbacks.logger import Logger


class WandbLogger(Logger):
    """One group per study and one run per trial, in ``FOLDER/wandb`` and offline unless ``WANDB_MODE`` is set."""

    def __init__(self, study: str, folder: Path) -> None:
        self._study, self._folder = study, folder
        self._runs: dict[int, Any] = {}

    def begin_trial(self, number: int, config: Mapping[str, Any]) -> None:
        """Open the run of the trial."""
        self._runs[number] = wandb.init(
            project="drft-study",
            group=self._study,
            name=f"trial {number}",
            config=dict(config),
            dir=str(self._folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            reinit="create_new",
        )

    def log_epoch(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an epoch."""
        self._runs[number].log(dict(metrics), step=step)

    def end_trial(self, number: int, ending: str, metrics: Mapping[str, float]) -> None:
        """Log the final metrics and close the run."""
        run = self._runs.pop(number)
        run.summary.update({"ending": ending, **{f"final/{name}": value for name, value in metrics.items()}})
        run.finish(exit_code=0 if metrics else 1)

    def close(self) -> None:
        """Close the runs of trials that were stopped."""
        for run in self._runs.values():
            run.finish(exit_code=1)
