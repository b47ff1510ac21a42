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
question: Does anything get lost?
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
    """A folder with all that a tiny study needs.

    Args:
        folder: where its files are laid out; studies land in ``results`` there.
        trials: finished trials it shall come to.
        storage: URL of its storage; None for ``study.db`` in its folder.
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
        """Its labels."""
        return self.folder / "labels.csv"

    def lay_out(self) -> None:
        """Write images, labels and search space."""
        rows = [("image", "grade")]
        for index in range(40):
            grade, random = index % 5, np.random.default_rng(index)
            pixels = random.integers(0, 60, (48, 48, 3)) + 40 * grade
            Image.fromarray(pixels.astype(np.uint8)).save(self.folder / f"photo{index}.png")
            rows.append((f"photo{index}", str(grade)))
        with self.table.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        (self.folder / "chaos.yaml").write_text(_SPACE)

    def command(self, more: Sequence[str]) -> list[str]:
        """Return the command that begins the study, and goes on with it."""
        what = ("--space", "chaos.yaml", "--data", str(self.table), "--backbone", "test_resnet", "--weights", "none")
        how = ("--study", STUDY, "--no-report", "--trials", str(self.trials))
        where = ("--storage", self.storage) if self.storage else ()
        return [sys.executable, "-m", "study", "run", *what, *how, *where, *more]
