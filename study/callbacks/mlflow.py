"""Log trials to MLflow."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from study.callbacks.logger import Logger


class MLflowLogger(Logger):
    """One experiment per study and one run per trial, in ``FOLDER/mlruns`` unless ``MLFLOW_TRACKING_URI`` is set."""

    def __init__(self, study: str, folder: Path) -> None:
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlruns").absolute().as_uri())
        experiment = self._client.get_experiment_by_name(study)
        self._experiment = experiment.experiment_id if experiment else self._client.create_experiment(study)
        self._runs: dict[int, str] = {}

    def begin_trial(self, number: int, config: Mapping[str, Any]) -> None:
        """Open the run of the trial and log its settings."""
        run = self._client.create_run(self._experiment, run_name=f"trial {number}")
        self._runs[number] = run.info.run_id
        for name, value in config.items():
            self._client.log_param(run.info.run_id, name, value)

    def log_epoch(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        """Log each metric."""
        for name, value in metrics.items():
            self._client.log_metric(self._runs[number], name, value, step=step)

    def end_trial(self, number: int, ending: str, metrics: Mapping[str, float]) -> None:
        """Log the final metrics and close the run."""
        run = self._runs.pop(number)
        for name, value in metrics.items():
            self._client.log_metric(run, f"final_{name}", value)
        self._client.set_tag(run, "ending", ending)
        self._client.set_terminated(run, "FINISHED" if metrics else "FAILED")

    def close(self) -> None:
        """Close the runs of trials that were stopped."""
        for run in self._runs.values():
            self._client.set_terminated(run, "KILLED")
