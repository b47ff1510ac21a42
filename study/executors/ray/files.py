"""Files that trainings need and a node of a cluster may lack: the decoded images and weight files.

The tuner names them once. A node that lacks a file gets it from the tuner and keeps it in its own cache folder, so no
disk needs to be shared. Nodes never read the data source.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drft.config.trial_config import NAMED_WEIGHTS, BackboneConfig
from drft.data.dataset import ImageDataset
from drft.data.images import store_of
from drft.errors import DataError
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

    @property
    def files(self) -> tuple[ShippedFile, ...]:
        """All files."""
        return (*self.images, *self.weights.values())


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


def find(shipped: ShippedFile, cache_dir: Path | None) -> Path | None:
    """Return the path of a file on this machine; None if the machine lacks it."""
    if shipped.digest is not None and shipped.file.is_file() and _digest(shipped.file) == shipped.digest:
        return shipped.file
    path = (cache_dir or default_cache_dir()) / shipped.place
    return path if path.is_file() else None


def keep(shipped: ShippedFile, content: memoryview | bytes, cache_dir: Path | None) -> Path:
    """Write a file into this machine's cache folder and return its path.

    Raises:
        DataError: when it cannot be written.
    """
    path = (cache_dir or default_cache_dir()) / shipped.place
    try:
        with whole_file(path, durable=False) as draft:
            draft.write_bytes(content)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}): free some space, or set the environment variable "
            "DRFT_CACHE to another folder where the node is started"
        ) from error
    return path


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
