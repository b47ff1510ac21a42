"""RetinaMNIST (Yang et al. 2023, from the DeepDRiD images): one ``.npz`` of arrays, as MedMNIST publishes it.

Its images are written once as PNG files in the cache folder and are then used like any other images.
"""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drft.data.dataset import Origin
from drft.data.datasets.files import ImageFiles
from drft.data.datasets.labels import LabelRow, SourceLabels
from drft.errors import DataError
from drft.files.atomic import default_cache_dir, whole_folder
from drft.files.digests import file_digest

_PARTS: tuple[tuple[str, Origin], ...] = (("train", "train"), ("val", "train"), ("test", "test"))


class _Part(NamedTuple):
    name: str
    origin: Origin
    images: NDArray[np.uint8]
    """Shape (n, height, width, 3)."""
    grades: NDArray[np.int64]
    """Shape (n,)."""

    def names(self) -> Iterator[str]:
        """Return the file names of the images, without suffix."""
        return (f"{self.name}_{number:04d}" for number in range(len(self.grades)))


def find_retinamnist(files: Sequence[Path]) -> Path | None:
    """Return RetinaMNIST's file among the files of a folder; None when it is not there.

    Raises:
        DataError: when it is there in several sizes.
    """
    matches = [file for file in files if is_retinamnist(file)]
    if len(matches) > 1:
        raise DataError(f"{' and '.join(map(str, matches))} are RetinaMNIST in several sizes: name one of the files")
    return matches[0] if matches else None


def is_retinamnist(file: Path) -> bool:
    """Return whether a file has a name of RetinaMNIST: ``retinamnist.npz``, ``retinamnist_224.npz`` ..."""
    return file.name.casefold().startswith("retinamnist") and file.suffix == ".npz"


def read_retinamnist(file: Path, cache_dir: Path | None = None) -> SourceLabels:
    """Read the grades and write the images as files.

    Raises:
        DataError: when the file is damaged or not of MedMNIST, or the cache folder cannot be written to.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:  # a pickle can run any code
            parts = [_read_part(file, name, origin, arrays) for name, origin in _PARTS]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{file} is no whole RetinaMNIST file ({error}): download it again") from None
    folder = (cache_dir or default_cache_dir()) / "unpacked" / f"{file.stem}-{file_digest(file)[:16]}"
    if not folder.is_dir():
        _unpack(parts, folder)
    images = ImageFiles.of(folder)
    rows = [
        LabelRow(f"{part.origin}/{name}", name, str(grade), part.origin, images, f"{file.name}, {name}")
        for part in parts
        for name, grade in zip(part.names(), part.grades.tolist(), strict=True)
    ]
    note = "MedMNIST's own validation images are used for training; each study makes its own validation part."
    return SourceLabels(file.stem, rows, [note])


def _read_part(file: Path, name: str, origin: Origin, arrays: "np.lib.npyio.NpzFile") -> _Part:
    images, grades = arrays[f"{name}_images"], arrays[f"{name}_labels"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise DataError(f"{file}: {name}_images should be 8-bit RGB images, not {images.dtype} {images.shape}")
    if grades.size != len(images) or grades.dtype.kind not in "iu":
        raise DataError(f"{file}: {name}_labels should be one whole number for each of {len(images)} images")
    return _Part(name, origin, images, grades.reshape(-1).astype(np.int64))


def _unpack(parts: Sequence[_Part], folder: Path) -> None:
    try:
        with whole_folder(folder) as draft:
            for part in parts:
                for name, image in zip(part.names(), part.images, strict=True):
                    Image.fromarray(image).save(draft / f"{name}.png", compress_level=1)
    except OSError as error:
        if not folder.is_dir():  # another process may have written it
            raise DataError(f"{folder} cannot be written ({error.strerror}); choose another cache folder") from None
