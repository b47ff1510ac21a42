"""Trials in MLflow."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class MLflow:
    """One experiment per study, one run per trial; in ``FOLDER/mlruns`` unless ``MLFLOW_TRACKING_URI`` is set."""

    def __init__(self, study: str, folder: Path) -> None:
        from mlflow import MlflowClient  # noqa: PLC0415 (an extra)

        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlruns").absolute().as_uri())
        known = self._client.get_experiment_by_name(study)
        self._experiment = known.experiment_id if known else self._client.create_experiment(study)
        self._runs: dict[int, str] = {}

    def started(self, number: int, config: Mapping[str, Any]) -> None:
        """Open the trial's run and note its settings."""
        run = self._client.create_run(self._experiment, run_name=f"trial {number}")
        self._runs[number] = run.info.run_id
        for name, value in config.items():
            self._client.log_param(run.info.run_id, name, value)

    def epoch(self, number: int, step: int, figures: Mapping[str, float]) -> None:
        """Write each figure as a metric."""
        for name, value in figures.items():
            self._client.log_metric(self._runs[number], name, value, step=step)

    def ended(self, number: int, ending: str, figures: Mapping[str, float]) -> None:
        """Write the final figures and close the run."""
        run = self._runs.pop(number)
        for name, value in figures.items():
            self._client.log_metric(run, f"final_{name}", value)
        self._client.set_tag(run, "ending", ending)
        self._client.set_terminated(run, "FINISHED" if figures else "FAILED")

    def close(self) -> None:
        """Close the runs of trials that were stopped."""
        for run in self._runs.values():
            self._client.set_terminated(run, "KILLED")
