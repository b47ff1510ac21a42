"""A tiny real study for the chaos run: forty small images, a small network, trainings of a fraction of a second."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

STUDY = "chaos"

_SPACE = """
name: chaos
question: Is anything lost when processes are killed?
fixed:
  image_size: 32
  batch_size: 16
  head_phase.epochs: 2
  depth_phase.epochs: 4
search:
  depth: {type: int, low: 0, high: all}
  depth_phase.lr: {type: float, low: 1e-4, high: 1e-2, log: true}
"""


@dataclass(frozen=True)
class TinyStudy:
    """A folder with the files of a tiny study.

    Args:
        folder: for images, labels, search space and ``results``.
        trials: finished trials at its end.
        storage: URL of its storage; None for ``study.db`` in the study's folder.
    """

    folder: Path
    trials: int
    storage: str | None = None

    @property
    def results(self) -> Path:
        """Folder of results."""
        return self.folder / "results"

    @property
    def table(self) -> Path:
        """The label table."""
        return self.folder / "labels.csv"

    def write_files(self) -> None:
        """Write images, labels and search space."""
        rows = [("image", "level")]
        for index in range(40):
            grade, rng = index % 5, np.random.default_rng(index)
            pixels = rng.integers(0, 60, (48, 48, 3)) + 40 * grade
            Image.fromarray(pixels.astype(np.uint8)).save(self.folder / f"image{index}.png")
            rows.append((f"image{index}", str(grade)))
        with self.table.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        (self.folder / "chaos.yaml").write_text(_SPACE)

    def command(self, options: Sequence[str]) -> list[str]:
        """Return the command that starts and resumes the study."""
        data = ("--space", "chaos.yaml", "--data", str(self.table), "--backbone", "test_resnet", "--weights", "none")
        study = ("--study", STUDY, "--goal", "best", "--no-report", "--trials", str(self.trials))
        storage = ("--storage", self.storage) if self.storage else ()
        return [sys.executable, "-m", "study", "run", *data, *study, *storage, *options]
