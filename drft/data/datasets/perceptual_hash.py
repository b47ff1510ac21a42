"""The same image twice, though its files differ: encoded again, resized, brightened, turned or mirrored.

All fundus images look alike: a bright disc with a brighter spot. So the comparison leaves out what they share,
the frame and the slow change of light, and compares vessels and lesions. It goes in two steps: the signs of a discrete
cosine transform (a perceptual hash, as in Zauner 2010) tell which pairs are worth a look, and the correlation of the
images decides. A turn or reflection of an image only permutes its coefficients and changes their signs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from drft.data.datasets.thumbnails import SIDE

_HASHED = 16
"""Rows and columns of the coefficients whose signs are the hash."""

_WORTH_A_LOOK = 0.2
"""Pairs whose hashes differ in a smaller share of their bits are compared."""

_SAME = 0.88
"""Pairs with a higher correlation are the same image. Among 466 images of IDRiD, no pair of different ones
exceeds 0.75; copies encoded again, resized, squeezed, brightened or turned stay above 0.94."""

_BLOCK = 512
"""Images whose hashes are compared with all others at once: bounds the memory."""

VIEWS: tuple[str, ...] = (
    "encoded again or resized",
    "mirrored left to right",
    "mirrored top to bottom",
    "rotated by 180°",
    "mirrored along the main diagonal",
    "rotated by 90°",
    "rotated by 270°",
    "mirrored along the other diagonal",
)
"""The eight symmetries of a square: number 4 t + 2 v + h transposes (t), then reverses rows (v) and columns (h)."""


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two places in a sequence of images that show the same."""

    first: int
    second: int
    view: str
    """What was done to one of them, as in ``VIEWS``."""
    correlation: float


def find_lookalikes(images: NDArray[np.uint8]) -> tuple[list[NearDuplicate], int]:
    """Find the images that show the same image.

    Args:
        images: grey images of shape (n, SIDE, SIDE), none of them flat.

    Returns:
        The pairs, in order, and how many pairs were close enough to be compared.
    """
    if len(images) < 2:
        return [], 0
    coefficients = np.stack([_coefficients(_details(image)) for image in images])
    details = cache(lambda place: _details(images[place]))  # all at once would not fit: 37 kB each
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for first, second, view in _candidates(coefficients):
        likeness = float((details(first) * _viewed(details(second), view)).sum())
        best[first, second] = max(best.get((first, second), (-1.0, 0)), (likeness, view))
    same = [
        NearDuplicate(first, second, VIEWS[view], likeness)
        for (first, second), (likeness, view) in sorted(best.items())
        if likeness > _SAME
    ]
    return same, len(best)


def _details(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return vessels and lesions alone: the middle frequencies inside the disc, of norm 1."""
    values = image.astype(np.float32)
    middle = (gaussian_filter(values, 1.0) - gaussian_filter(values, 5.0)) * _inside()
    middle -= middle.mean()
    bound = 2.5 * middle.std()  # the rim of the optic disc should not outweigh everything else
    bounded = np.clip(middle, -bound, bound)
    return np.asarray(bounded / max(float(np.linalg.norm(bounded)), 1e-9), dtype=np.float32)


def _inside() -> NDArray[np.bool_]:
    """Return the part of an image that every camera shows, its rim left out."""
    axis = np.arange(SIDE) - (SIDE - 1) / 2
    return np.asarray(np.hypot(axis[:, None], axis) < 0.36 * SIDE)


def _coefficients(details: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the low coefficients of one image, shape (_HASHED, _HASHED)."""
    return np.asarray(dctn(details)[:_HASHED, :_HASHED])


def _viewed(images: NDArray[np.float32], view: int) -> NDArray[np.float32]:
    """Turn and mirror images, shape (..., SIDE, SIDE)."""
    turned = np.swapaxes(images, -1, -2) if view & 4 else images
    return turned[..., :: -1 if view & 2 else 1, :: -1 if view & 1 else 1]


def _viewed_coefficients(coefficients: NDArray[np.float32], view: int) -> NDArray[np.float32]:
    """Return the coefficients of turned and mirrored images: reversing an axis negates its odd frequencies."""
    odd = np.where(np.arange(_HASHED) % 2, -1.0, 1.0).astype(np.float32)
    turned = np.swapaxes(coefficients, -1, -2) if view & 4 else coefficients
    rows, columns = (odd[:, None] if view & 2 else 1.0), (odd if view & 1 else 1.0)
    return np.asarray(turned * rows * columns)


def _hashes(coefficients: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return the signs of coefficients as bits, shape (n, words)."""
    packed = np.packbits(coefficients.reshape(len(coefficients), -1) > 0, axis=1)
    return packed.view(np.uint64)


def _candidates(coefficients: NDArray[np.float32]) -> Iterator[tuple[int, int, int]]:
    """Yield pairs and views whose hashes are close."""
    plain = _hashes(coefficients)
    most = _WORTH_A_LOOK * _HASHED**2
    for view in range(len(VIEWS)):
        others = _hashes(_viewed_coefficients(coefficients, view))
        for start in range(0, len(plain), _BLOCK):
            differing = _differing_bits(plain[start : start + _BLOCK], others[start:])
            for first, second in zip(*np.nonzero(differing < most), strict=True):
                if first < second:
                    yield start + int(first), start + int(second), view


def _differing_bits(some: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Return in how many bits hashes differ, shape (some, others)."""
    counts = np.zeros((len(some), len(others)), dtype=np.uint16)
    for one, other in zip(some.T, others.T, strict=True):
        counts += np.bitwise_count(one[:, None] ^ other)
    return counts
