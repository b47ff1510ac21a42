"""One small grey image and a few figures of each file: what the checks compare instead of the files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from drft.data.datasets.audit import checked_digest
from drft.data.images import lit_box, read_rgb
from drft.errors import DataError

SIDE = 96
"""Height and width of the small images: vessels and larger lesions show, the noise of a JPEG does not."""

_BLACK = 24
"""A file is near-black when hardly a pixel (one in a hundred) is brighter than this, of 255."""

_FLAT = 2.0
"""An image with a smaller standard deviation, of 255, shows nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageFingerprint:
    """What is known of one sound file."""

    digest: str
    """SHA-256 of the file."""
    size: tuple[int, int]
    """Width and height in pixels."""
    kind: str
    """File format, such as JPEG."""
    brightest: float
    """Grey level, of 255, that one pixel in a hundred exceeds."""
    deviation: float
    """Standard deviation of the grey levels."""
    grey: NDArray[np.uint8]
    """The lit part of the image, stretched to a square; shape (SIDE, SIDE)."""

    @property
    def is_black(self) -> bool:
        """Whether next to nothing is lit."""
        return self.brightest < _BLACK

    @property
    def is_flat(self) -> bool:
        """Whether all pixels look the same."""
        return self.deviation < _FLAT


def portray(path: Path) -> ImageFingerprint:
    """Read a file once, to its end.

    The lit part is stretched to a square, so that a copy resized to other proportions gives the same image.

    Raises:
        DataError: when the file is empty, cut off, unreadable or no image.
    """
    digest = checked_digest(path)
    size, kind = _size_and_kind(path)
    grey = read_rgb(path, SIDE).convert("L")
    values = np.asarray(grey.reduce(max(1, max(grey.size) // 256)))
    stretched = ImageOps.autocontrast(grey, cutoff=1)  # the frame of a copy of lower contrast is grey, not black
    box = lit_box(stretched.convert("RGB"))
    small = stretched.resize((SIDE, SIDE), Image.Resampling.BOX, box=box)
    return ImageFingerprint(
        digest, size, kind, float(np.percentile(values, 99)), float(values.std()), np.asarray(small)
    )


def _size_and_kind(path: Path) -> tuple[tuple[int, int], str]:
    try:
        with Image.open(path) as image:
            return image.size, str(image.format)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}): mend it or remove its line") from None
