"""The work of all compared programs: the same images, configurations, epochs and seeds.

A plan is one JSON file, so each program can read it in a process of its own.
"""

import csv
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel

from drft.config.trial_config import STRENGTHS, TrialConfig, parse_config
from drft.data import ImageDataset, open_dataset
from drft.data.dataset import LabeledImage
from drft.data.images import decode
from drft.models.backbone import block_count

_JPEG_SIZE = 512
"""Largest side in pixels of the JPEG files that the plain peer reads."""

_JPEG_QUALITY = 92


class BenchmarkPlan(BaseModel):
    """What every program runs."""

    folder: Path
    """Temporary folder of the benchmark."""
    trials: tuple[TrialConfig, ...]
    """One configuration per trial, in the order of the trials."""
    chosen: tuple[int, ...]
    """Numbers of the trials that the peers run; drft-study runs all."""
    jobs: int | None = None
    """Trials that drft-study runs at once; None for its default."""

    @property
    def table(self) -> Path:
        """The label table of the images, a data source for ``open_dataset``."""
        return self.folder / "images" / "benchmark.csv"

    @property
    def jpegs(self) -> Path:
        """Folder of the resized JPEG files, named by their index in the data set."""
        return self.folder / "jpegs"

    def dataset(self) -> ImageDataset:
        """Open the images."""
        return open_dataset(str(self.table))

    def write(self) -> Path:
        """Write the plan as JSON and return its path."""
        path = self.folder / "plan.json"
        path.write_text(self.model_dump_json(indent=1))
        return path


def plan_configs(shared: dict[str, Any], trials: int) -> tuple[TrialConfig, ...]:
    """Return ``trials`` configurations that spread evenly over all depths and strengths, in shuffled order.

    Every round has each depth once; strengths are paired with depths as in a Latin square, so five rounds have each
    pair once. The order is shuffled because a sampler's order is mixed as well. Trial i has seed i.

    Args:
        shared: values of all configurations, nested as for ``parse_config``.
        trials: how many.
    """
    base = parse_config(shared)
    depths = range(block_count(base.backbone.name) + 1)
    rounds, rest = divmod(trials, len(depths))
    cells = [(number, depth) for number in range(rounds) for depth in depths]
    cells += [(rounds, depth) for depth in evenly_spaced(depths, rest)]
    pairs = [(depth, STRENGTHS[(2 * depth + number) % len(STRENGTHS)]) for number, depth in cells]
    random.Random(0).shuffle(pairs)  # noqa: S311 (an order, not a secret)
    return tuple(
        parse_config({"seed": seed, "depth": depth, "augmentation": {"strength": strength}}, base)
        for seed, (depth, strength) in enumerate(pairs)
    )


def choose_trials(trials: Sequence[TrialConfig], count: int) -> tuple[int, ...]:
    """Return the numbers of ``count`` trials that spread evenly over the depths, ascending.

    The n-th trials of all depths are taken before any depth's next trial. Of a last, incomplete round the depths are
    evenly spaced.
    """
    rounds: dict[int, list[int]] = defaultdict(list)
    seen: Counter[int] = Counter()
    for number in sorted(range(len(trials)), key=lambda number: trials[number].depth):
        depth = trials[number].depth
        rounds[seen[depth]].append(number)
        seen[depth] += 1
    chosen: list[int] = []
    for numbers in rounds.values():
        chosen += evenly_spaced(numbers, min(len(numbers), count - len(chosen)))
    return tuple(sorted(chosen))


def evenly_spaced(values: Sequence[int], count: int) -> list[int]:
    """Return ``count`` evenly spaced values, both ends included when there are two or more."""
    if count == 1:
        return [values[len(values) // 2]]
    return [values[round(index * (len(values) - 1) / (count - 1))] for index in range(count)]


def link_images(dataset: ImageDataset, folder: Path, count: int | None) -> Path:
    """Write a label table and links to the images of a data set, or to an even share of every grade and origin.

    Args:
        dataset: the images; they are not copied.
        folder: new folder for the table and the links.
        count: how many images to use, about; None for all.

    Returns:
        The table's path.
    """
    folder.mkdir(parents=True)
    images = dataset.images if count is None else _stratified_share(dataset.images, count / len(dataset))
    table = folder / "benchmark.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "dr_grade", "group", "origin"))
        for image in images:
            link = folder / f"{image.origin}-{image.path.name}"
            link.symlink_to(image.path.resolve())
            writer.writerow((link.name, image.grade, image.group, image.origin))
    return table


def _stratified_share(images: Sequence[LabeledImage], share: float) -> list[LabeledImage]:
    """Return about a share of each stratum (origin and grade), evenly spaced, at least two images of each."""
    strata: dict[tuple[str, int], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        strata[image.origin, image.grade].append(index)
    chosen = {
        index
        for indices in strata.values()
        for index in evenly_spaced(indices, int(np.clip(round(share * len(indices)), 2, len(indices))))
    }
    return [images[index] for index in sorted(chosen)]


def write_jpegs(dataset: ImageDataset, folder: Path) -> None:
    """Write each image as a square JPEG of at most 512 pixels, named by its index in the data set."""
    folder.mkdir(parents=True)
    for index, image in enumerate(dataset.images):
        with Image.open(image.path) as opened:
            size = min(_JPEG_SIZE, *opened.size)
        Image.fromarray(decode(image.path, size)).save(folder / f"{index}.jpg", quality=_JPEG_QUALITY)
