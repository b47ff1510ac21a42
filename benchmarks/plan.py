"""The work that all contestants are given: the same images, configurations, epochs and seeds.

A plan is one JSON file, so that each contestant can read it in a fresh process of its own.
"""

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel

from drft.config.trial_config import STRENGTHS, SplitConfig, TrialConfig, parse_config
from drft.data import ImageDataset, open_dataset
from drft.data.dataset import LabeledImage
from drft.data.images import decode
from drft.models.backbone import block_count

STORED_SIZE = 512
"""Side in pixels of the JPEG files that the plain peer reads."""

_STORED_QUALITY = 92


class BenchmarkPlan(BaseModel):
    """What every contestant does."""

    folder: Path
    """Scratch folder of the benchmark; it is removed in the end."""
    trials: tuple[TrialConfig, ...]
    """One configuration per trial, in the order in which they are asked for."""
    chosen: tuple[int, ...]
    """The trials that the peers run; this program runs all."""
    jobs: int | None = None
    """Trials at once of this program; None for its default."""

    @property
    def table(self) -> Path:
        """The label table of the images, a data source as ``open_dataset`` takes it."""
        return self.folder / "photographs" / "benchmark.csv"

    @property
    def stored(self) -> Path:
        """Folder of the pre-resized JPEG files, numbered by their place in the data set."""
        return self.folder / "stored"

    def dataset(self) -> ImageDataset:
        """Open the images."""
        return open_dataset(str(self.table))

    def write(self) -> Path:
        """Write the plan as JSON and return its path."""
        path = self.folder / "plan.json"
        path.write_text(self.model_dump_json(indent=1))
        return path

    @classmethod
    def read(cls, path: Path) -> "BenchmarkPlan":
        """Read a plan."""
        return cls.model_validate_json(path.read_text())


def plan_configs(fixed: dict[str, Any], trials: int) -> tuple[TrialConfig, ...]:
    """Return ``trials`` configurations that spread evenly over all depths and strengths, in mixed order.

    Every round has each depth once; strengths are paired with depths as in a Latin square, so that five rounds have
    each pair once. The mixed order is what a sampler would give; it follows from no clock. Trial i has seed i.

    Args:
        fixed: what all configurations share, nested as ``parse_config`` takes it.
        trials: how many.
    """
    base = parse_config(fixed)
    depths = block_count(base.backbone.name) + 1
    pairs = [(depth, STRENGTHS[(2 * depth + round_) % len(STRENGTHS)]) for round_, depth in _rounds(trials, depths)]
    random.Random(0).shuffle(pairs)  # noqa: S311 (an order, no secret)
    return tuple(
        parse_config({"seed": seed, "depth": depth, "augmentation": {"strength": strength}}, base)
        for seed, (depth, strength) in enumerate(pairs)
    )


def choose(trials: Sequence[TrialConfig], count: int) -> tuple[int, ...]:
    """Return the numbers of ``count`` trials that spread evenly over the depths, ascending.

    Each depth gives its n-th trial before any gives its next one; where a last round is not whole, its depths are
    evenly spaced.
    """
    rounds: dict[int, list[int]] = {}
    seen: dict[int, int] = {}
    for number in sorted(range(len(trials)), key=lambda number: trials[number].depth):
        depth = trials[number].depth
        rounds.setdefault(seen.get(depth, 0), []).append(number)
        seen[depth] = seen.get(depth, 0) + 1
    found: list[int] = []
    for members in rounds.values():
        found += evenly(members, min(len(members), count - len(found)))
    return tuple(sorted(found))


def evenly(members: Sequence[int], count: int) -> list[int]:
    """Return ``count`` evenly spaced members, both ends included where there are two or more."""
    if count == 1:
        return [members[len(members) // 2]]
    return [members[round(place * (len(members) - 1) / (count - 1))] for place in range(count)]


def _rounds(trials: int, depths: int) -> list[tuple[int, int]]:
    whole, rest = divmod(trials, depths)
    pairs = [(round_, depth) for round_ in range(whole) for depth in range(depths)]
    return pairs + [(whole, depth) for depth in evenly(range(depths), rest)]


def lay_out_images(dataset: ImageDataset, folder: Path, images: int | None) -> Path:
    """Write a label table over links to the images of a data set, or to an even share of every grade and origin.

    Args:
        dataset: the images; none is copied.
        folder: where the table and its links are written.
        images: how many images to keep, about; None for all.

    Returns:
        The table's path.
    """
    folder.mkdir(parents=True)
    kept = dataset.images if images is None else _share(dataset.images, images / len(dataset))
    table = folder / "benchmark.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "grade", "group", "origin"))
        for image in kept:
            link = folder / f"{image.origin}-{image.path.name}"
            link.symlink_to(image.path.resolve())
            writer.writerow((link.name, image.grade, image.group, image.origin))
    return table


def store_jpegs(dataset: ImageDataset, folder: Path) -> None:
    """Write each image as a square JPEG of at most ``STORED_SIZE`` pixels, numbered by its place in the data set."""
    folder.mkdir(parents=True)
    for index, image in enumerate(dataset.images):
        with Image.open(image.path) as opened:
            size = min(STORED_SIZE, *opened.size)
        Image.fromarray(decode(image.path, size)).save(folder / f"{index}.jpg", quality=_STORED_QUALITY)


def fixed_values(
    backbone: str, weights: str, normalization: str, image_size: int, epochs: tuple[int, int], **rest: Any
) -> dict[str, Any]:
    """Return what all configurations of a benchmark share.

    No warm-up and no dropout, so that a peer written with PyTorch's own schedules trains alike.
    """
    return {
        "backbone": {"name": backbone, "weights": weights, "normalization": normalization},
        "image_size": image_size,
        "head_phase": {"epochs": epochs[0]},
        "depth_phase": {"epochs": epochs[1], "warmup_epochs": 0.0},
        "split": SplitConfig().model_dump(),
        **rest,
    }


def _share(images: Sequence[LabeledImage], share: float) -> list[LabeledImage]:
    """Return about a share of each stratum (origin and grade), evenly spaced, at least two of each."""
    strata: dict[tuple[str, int], list[int]] = {}
    for index, image in enumerate(images):
        strata.setdefault((image.origin, image.grade), []).append(index)
    kept = {
        member
        for members in strata.values()
        for member in evenly(members, int(np.clip(round(share * len(members)), 2, len(members))))
    }
    return [images[index] for index in sorted(kept)]
