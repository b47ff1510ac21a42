"""Files that trainings need and a node of a cluster may lack: the decoded images and weight files.

The tuner names them once. A node that lacks a file gets it from the tuner and keeps it in its own cache folder, so no
disk needs to be shared. Nodes never read the data source.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from drft.config.trial_config import NAMED_WEIGHTS, BackboneConfig
from drft.data.dataset import ImageDataset
from drft.data.images import store_of
from drft.errors import DataError, one_line
from drft.files.atomic import default_cache_dir, whole_file
from drft.files.home import expand_home


@dataclass(frozen=True, slots=True)
class ShippedFile:
    """One file on the tuner's machine, identified by its content."""

    file: Path
    """Its path on the tuner's machine."""
    place: str
    """Its path on nodes, below their cache folders."""
    digest: str | None = None
    """SHA-256 of a file that a node may have under the tuner's path; None for a file in the cache folder."""


@dataclass(frozen=True, slots=True)
class ShippedFiles:
    """Everything that the trainings of a study read."""

    dataset: ImageDataset | None = None
    images: tuple[ShippedFile, ...] = ()
    """The decoded images, one file for every size."""
    weights: Mapping[str, ShippedFile] = field(default_factory=dict)
    """Weight files, by their names in configurations."""


def pack(
    dataset: ImageDataset,
    image_sizes: Sequence[int],
    backbones: Iterable[BackboneConfig],
    cache_dir: Path | None = None,
) -> ShippedFiles:
    """Return the files that the trainings of a study read; the images must have been decoded before."""
    stores = [store_of(dataset, size, cache_dir) for size in image_sizes]
    images = tuple(ShippedFile(store, f"images/{store.name}") for store in stores)
    weights = {}
    for name in sorted({backbone.weights for backbone in backbones}.difference(NAMED_WEIGHTS)):
        file = expand_home(name).absolute()
        digest = _digest(file)
        weights[name] = ShippedFile(file, f"weights/{digest}{file.suffix}", digest)
    return ShippedFiles(dataset, images, weights)


def bring(shipped: ShippedFile, node: str, cache_dir: Path | None) -> Path:
    """Return the path of a file on this machine, which gets it from a node of the cluster if it lacks it.

    Args:
        shipped: the file.
        node: Ray's id of the tuner's node.
        cache_dir: cache folder of this machine.

    Raises:
        DataError: when it cannot be read there or written here.
    """
    if shipped.digest is not None and shipped.file.is_file() and _digest(shipped.file) == shipped.digest:
        return shipped.file
    path = (cache_dir or default_cache_dir()) / shipped.place
    if path.is_file():
        return path
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    try:
        content = ray.get(ray.remote(_read).options(num_cpus=0, scheduling_strategy=there).remote(shipped.file))
        with whole_file(path, durable=False) as draft:
            draft.write_bytes(content.data)
    except RayError as error:
        reason = one_line(getattr(error, "cause", None) or error)
        raise DataError(f"{shipped.file} cannot be read on the tuner's node: {reason}") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}): free some space, or set the environment variable "
            "DRFT_CACHE to another folder where the node is started"
        ) from error
    return path


def _read(file: Path) -> NDArray[np.uint8]:
    return np.fromfile(file, np.uint8)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
