"""What a node of a cluster needs and may not have: the data set, its decoded images and weight files.

The driver packs them once. A node that lacks a file gets it from the driver and keeps it in its own cache folder, so
no disk needs to be shared; nothing of the data source is read there.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drft.config.trial_config import BackboneConfig
from drft.data.dataset import ImageDataset
from drft.data.images import store_of
from drft.errors import DataError
from drft.files.atomic import default_cache_dir, whole_file


@dataclass(frozen=True, slots=True)
class ShippedFile:
    """One file of the driver, named by its content."""

    file: Path
    """Where the driver has it."""
    place: str
    """Where nodes keep it, below their cache folders."""
    digest: str | None = None
    """SHA-256, for a file that a node may have where the driver has it."""


@dataclass(frozen=True, slots=True)
class ShippedFiles:
    """All that trainings of one study read."""

    dataset: ImageDataset | None = None
    images: tuple[ShippedFile, ...] = ()
    """The decoded images, one file for every size."""
    weights: Mapping[str, ShippedFile] = field(default_factory=dict)
    """Weight files, by what configurations call them."""

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
    """Name the files that trainings of a study will read; the images have been decoded before."""
    stores = [store_of(dataset, size, cache_dir) for size in image_sizes]
    images = tuple(ShippedFile(store, f"images/{store.name}") for store in stores)
    files = {one.weights for one in backbones} - {"embedded", "hub", "none"}
    return ShippedFiles(dataset, images, {name: _weights(name) for name in sorted(files)})


def find(supply: ShippedFile, cache_dir: Path | None) -> Path | None:
    """Return where this machine has a file, if it does."""
    if supply.digest is not None and supply.file.is_file() and _digest(supply.file) == supply.digest:
        return supply.file
    kept = (cache_dir or default_cache_dir()) / supply.place
    return kept if kept.is_file() else None


def keep(supply: ShippedFile, content: memoryview | bytes, cache_dir: Path | None) -> Path:
    """Write a file into this machine's cache folder and return where it is.

    Raises:
        DataError: when it cannot be written.
    """
    path = (cache_dir or default_cache_dir()) / supply.place
    try:
        with whole_file(path, durable=False) as draft:
            draft.write_bytes(content)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}): make room there or name another folder "
            "with the environment variable DRFT_CACHE, where the node is started"
        ) from error
    return path


def _weights(name: str) -> ShippedFile:
    file = Path(name).expanduser().absolute()
    digest = _digest(file)
    return ShippedFile(file, f"weights/{digest}{file.suffix}", digest)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
