"""A small grey copy and a few properties of an image file; the checks compare these instead of the files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from drft.data.image_file import ImageFile
from drft.data.images import lit_box

SIDE = 96
"""Height and width of the thumbnails: they show vessels and larger lesions, but not the noise of a JPEG."""

_BLACK = 24
"""Grey level, of 255. A file is near-black when at most one pixel in a hundred is brighter."""

_FLAT = 2.0
"""Grey levels, of 255. An image with a smaller standard deviation is blank."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageFingerprint:
    """Properties of one file that could be decoded."""

    digest: str
    """SHA-256 of the file."""
    size: tuple[int, int]
    """Width and height in pixels."""
    file_format: str
    """Such as JPEG."""
    brightest: float
    """Grey level, of 255, that one pixel in a hundred exceeds."""
    deviation: float
    """Standard deviation of the grey levels."""
    thumbnail: NDArray[np.uint8]
    """The lit part of the image in grey levels, stretched to a square; shape (SIDE, SIDE)."""

    @property
    def is_black(self) -> bool:
        """Whether almost all pixels are black."""
        return self.brightest < _BLACK

    @property
    def is_flat(self) -> bool:
        """Whether all pixels have about the same grey level."""
        return self.deviation < _FLAT


def fingerprint_image(path: Path) -> ImageFingerprint:
    """Decode an image file to its end and return its fingerprint.

    The lit part is stretched to a square, so that a copy resized to other proportions has the same thumbnail.

    Raises:
        DataError: when the file is empty, cut off, unreadable or not an image.
    """
    file = ImageFile.read(path)
    grey = file.rgb(2 * SIDE).convert("L")
    values = np.asarray(grey.reduce(max(1, max(grey.size) // 256)))
    stretched = ImageOps.autocontrast(grey, cutoff=1)  # the frame of a copy of lower contrast is grey, not black
    box = lit_box(stretched.convert("RGB"))
    return ImageFingerprint(
        digest=file.digest,
        size=file.size,
        file_format=file.format,
        brightest=float(np.percentile(values, 99)),
        deviation=float(values.std()),
        thumbnail=np.asarray(stretched.resize((SIDE, SIDE), Image.Resampling.BOX, box=box)),
    )
