"""Find near duplicates: the same image encoded again, resized, brightened, rotated or mirrored.

All fundus images are similar: a bright disc with a brighter spot. The comparison therefore removes what they have in
common, the frame and the slow changes of light, and compares vessels and lesions. It has two steps. The signs of a
discrete cosine transform (a perceptual hash, as in Zauner 2010) select the candidates, and the correlation of the
images decides. A rotation or reflection of an image only permutes its coefficients and changes their signs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from drft.data.datasets.image_fingerprint import SIDE, ImageFingerprint

_HASHED = 16
"""Rows and columns of the coefficients whose signs are the hash."""

_MAX_DIFFERING = 0.2
"""Pairs whose hashes differ in a smaller share of their bits are candidates."""

_SAME = 0.88
"""Pairs with a higher correlation are the same image. Among 466 images of IDRiD, no pair of different ones
exceeds 0.75; copies encoded again, resized, squeezed, brightened or rotated stay above 0.94."""

_BLOCK = 512
"""Images whose hashes are compared with all others at once; it limits the memory."""

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

_AXIS = np.arange(SIDE) - (SIDE - 1) / 2
_INSIDE = np.hypot(_AXIS[:, None], _AXIS) < 0.36 * SIDE
"""The part of a thumbnail that every camera shows, without its rim; shape (SIDE, SIDE)."""


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two indices of fingerprints whose images show the same."""

    first: int
    second: int
    view: str
    """How one of them was changed, as in ``VIEWS``."""
    correlation: float


def find_near_duplicates(fingerprints: Sequence[ImageFingerprint]) -> tuple[list[NearDuplicate], int]:
    """Return the pairs of images that show the same; black and blank images are not compared.

    Returns:
        The pairs, in order, and the number of candidates that were compared in detail.
    """
    indices = [index for index, image in enumerate(fingerprints) if not (image.is_black or image.is_flat)]
    if len(indices) < 2:
        return [], 0
    thumbnails = [fingerprints[index].thumbnail for index in indices]
    coefficients = np.stack([dctn(_details(thumbnail))[:_HASHED, :_HASHED] for thumbnail in thumbnails])
    details = cache(lambda index: _details(thumbnails[index]))  # of candidates only: each takes 37 kB
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for view in range(len(VIEWS)):
        for first, second in _candidates(coefficients, view):
            correlation = float((details(first) * _transform(details(second), view)).sum())
            best[first, second] = max(best.get((first, second), (-1.0, 0)), (correlation, view))
    pairs = [
        NearDuplicate(indices[first], indices[second], VIEWS[view], correlation)
        for (first, second), (correlation, view) in sorted(best.items())
        if correlation > _SAME
    ]
    return pairs, len(best)


def _details(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return vessels and lesions alone: the middle frequencies inside the disc, of norm 1."""
    values = image.astype(np.float32)
    middle = (gaussian_filter(values, 1.0) - gaussian_filter(values, 5.0)) * _INSIDE
    middle -= middle.mean()
    bound = 2.5 * middle.std()  # otherwise the rim of the optic disc outweighs everything else
    bounded = np.clip(middle, -bound, bound)
    return np.asarray(bounded / max(float(np.linalg.norm(bounded)), 1e-9), dtype=np.float32)


def _transform(images: NDArray[np.float32], view: int) -> NDArray[np.float32]:
    """Rotate and mirror images, shape (..., SIDE, SIDE)."""
    turned = np.swapaxes(images, -1, -2) if view & 4 else images
    return turned[..., :: -1 if view & 2 else 1, :: -1 if view & 1 else 1]


def _transform_coefficients(coefficients: NDArray[np.float32], view: int) -> NDArray[np.float32]:
    """Return the coefficients of rotated and mirrored images: reversing an axis negates its odd frequencies."""
    odd = np.where(np.arange(_HASHED) % 2, -1.0, 1.0).astype(np.float32)
    turned = np.swapaxes(coefficients, -1, -2) if view & 4 else coefficients
    rows, columns = (odd[:, None] if view & 2 else 1.0), (odd if view & 1 else 1.0)
    return np.asarray(turned * rows * columns)


def _candidates(coefficients: NDArray[np.float32], view: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs of indices whose hashes are close when the second image is transformed."""
    signs, transformed = (
        np.where(values.reshape(len(values), -1) > 0, np.float32(1), np.float32(-1))
        for values in (coefficients, _transform_coefficients(coefficients, view))
    )
    for start in range(0, len(signs), _BLOCK):
        # The product of two hashes is the number of equal bits minus the number of different ones, exact in float32.
        close = signs[start : start + _BLOCK] @ transformed[start:].T > (1 - 2 * _MAX_DIFFERING) * _HASHED**2
        for first, second in zip(*np.nonzero(close), strict=True):
            if first < second:
                yield start + int(first), start + int(second)
