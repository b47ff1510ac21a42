"""Trials in Weights & Biases."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class WeightsAndBiases:
    """One group per study, one run per trial; kept in ``FOLDER/wandb`` unless ``WANDB_MODE`` says otherwise."""

    def __init__(self, study: str, folder: Path) -> None:
        self._study, self._folder = study, folder
        self._runs: dict[int, Any] = {}

    def started(self, number: int, config: Mapping[str, Any]) -> None:
        """Open the trial's run."""
        import wandb  # noqa: PLC0415 (an extra)

        self._runs[number] = wandb.init(
            project="drft-study",
            group=self._study,
            name=f"trial {number}",
            config=dict(config),
            dir=str(self._folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            reinit="create_new",
        )

    def epoch(self, number: int, step: int, figures: Mapping[str, float]) -> None:
        """Write the figures of a step."""
        self._runs[number].log(dict(figures), step=step)

    def ended(self, number: int, ending: str, figures: Mapping[str, float]) -> None:
        """Write the final figures and close the run."""
        run = self._runs.pop(number)
        run.summary.update({"ending": ending, **{f"final/{name}": value for name, value in figures.items()}})
        run.finish(exit_code=0 if figures else 1)

    def close(self) -> None:
        """Close the runs of trials that were stopped."""
        for run in self._runs.values():
            run.finish(exit_code=1)
