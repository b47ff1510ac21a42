"""RetinaMNIST (Yang et al. 2023, of the DeepDRiD images): one ``.npz`` of arrays, as MedMNIST publishes it.

Its images are written as PNG files once, in the cache folder: from there on they are images like any others.
"""

import contextlib
import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drft.data.dataset import Origin
from drft.data.datasets.files import ImageFiles
from drft.data.datasets.listing import ListedImage, Listing
from drft.errors import DataError
from drft.files.atomic import default_cache_dir

_PARTS: tuple[tuple[str, Origin], ...] = (("train", "train"), ("val", "train"), ("test", "test"))


class _Part(NamedTuple):
    name: str
    origin: Origin
    images: NDArray[np.uint8]
    """Shape (n, height, width, 3)."""
    grades: NDArray[np.int64]
    """Shape (n,)."""


def find_retinamnist(files: Sequence[Path]) -> Path | None:
    """Return RetinaMNIST's file among the files of a folder; None when it is not there.

    Raises:
        DataError: when it is there in several sizes.
    """
    found = [file for file in files if is_retinamnist(file)]
    if len(found) > 1:
        raise DataError(f"{' and '.join(map(str, found))} are RetinaMNIST in several sizes: name one of the files")
    return found[0] if found else None


def is_retinamnist(file: Path) -> bool:
    """Tell RetinaMNIST by the name of its file: ``retinamnist.npz``, ``retinamnist_224.npz`` ..."""
    return file.name.casefold().startswith("retinamnist") and file.suffix == ".npz"


def list_retinamnist(file: Path, cache_dir: Path | None = None) -> Listing:
    """Read the grades and write the images as files.

    Raises:
        DataError: when the file is damaged or no MedMNIST, or the cache folder cannot be written to.
    """
    parts = _read(file)
    folder = (cache_dir or default_cache_dir()) / "unpacked" / f"{file.stem}-{_digest(file)[:16]}"
    if not folder.is_dir():
        _unpack(parts, folder)
    images = ImageFiles.of(folder)
    lines = [
        ListedImage(f"{part.origin}/{name}", name, str(grade), part.origin, images, f"{file.name}, {name}")
        for part in parts
        for name, grade in zip(_names(part), part.grades.tolist(), strict=True)
    ]
    note = "MedMNIST's own validation images are among the training ones, of which every study holds out some."
    return Listing(file.stem, lines, [note])


def _read(file: Path) -> list[_Part]:
    try:
        with np.load(file, allow_pickle=False) as arrays:  # a pickle could run anything
            return [_checked(file, name, origin, arrays) for name, origin in _PARTS]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{file} is no whole RetinaMNIST file ({error}): download it again") from None


def _checked(file: Path, name: str, origin: Origin, arrays: "np.lib.npyio.NpzFile") -> _Part:
    images, grades = arrays[f"{name}_images"], arrays[f"{name}_labels"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise DataError(f"{file}: {name}_images should be 8-bit RGB images, not {images.dtype} {images.shape}")
    if grades.size != len(images) or grades.dtype.kind not in "iu":
        raise DataError(f"{file}: {name}_labels should be one whole number for each of {len(images)} images")
    return _Part(name, origin, images, grades.reshape(-1).astype(np.int64))


def _names(part: _Part) -> Iterator[str]:
    return (f"{part.name}_{number:04d}" for number in range(len(part.grades)))


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _unpack(parts: Sequence[_Part], folder: Path) -> None:
    """Write the images beside the folder, then rename: it is there whole or not at all, whoever else does it too."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder.parent))
        try:
            for part in parts:
                for name, image in zip(_names(part), part.images, strict=True):
                    Image.fromarray(image).save(beside / f"{name}.png", compress_level=1)
            beside.chmod(0o755)
            with contextlib.suppress(FileExistsError):  # another process was faster
                beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        if not folder.is_dir():
            raise DataError(f"{folder} cannot be written ({error.strerror}); choose another cache folder") from None
