"""Trials in TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoard:
    """One run per trial, ``FOLDER/tensorboard/0042``: ``tensorboard --logdir FOLDER/tensorboard``."""

    def __init__(self, study: str, folder: Path) -> None:
        self._folder = folder / "tensorboard"
        self._writers: dict[int, Any] = {}
        self._configs: dict[int, Mapping[str, Any]] = {}

    def started(self, number: int, config: Mapping[str, Any]) -> None:
        """Open the trial's run."""
        from tensorboardX import SummaryWriter  # noqa: PLC0415 (an extra)

        self._writers[number] = SummaryWriter(str(self._folder / f"{number:04d}"))
        self._configs[number] = config

    def epoch(self, number: int, step: int, figures: Mapping[str, float]) -> None:
        """Write each figure as a scalar."""
        for name, value in figures.items():
            self._writers[number].add_scalar(name, value, step)
        self._writers[number].flush()

    def ended(self, number: int, ending: str, figures: Mapping[str, float]) -> None:
        """Write settings and final figures where the HPARAMS tab finds them, and close the run."""
        settings = {name: value for name, value in self._configs.pop(number).items() if value is not None}
        writer = self._writers.pop(number)
        writer.add_text("ending", ending)
        writer.add_hparams(settings, {f"final/{name}": value for name, value in figures.items()}, name="final")
        writer.close()

    def close(self) -> None:
        """Close the runs of trials that were stopped."""
        for writer in self._writers.values():
            writer.close()
