"""Small images of noise, and tables of their labels."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def draw_noise(path: Path, seed: int, brightness: int = 0) -> None:
    """Write noise from 0 to 59 plus a brightness: 64 x 64 pixels, the smallest size that ``data check`` accepts."""
    pixels = np.random.default_rng(seed).integers(0, 60, (64, 64, 3)) + brightness
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def write_table(path: Path, *rows: Sequence[object]) -> None:
    """Write rows as a CSV file; the first one names the columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
