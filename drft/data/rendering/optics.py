"""The camera: uneven light, haze, blur, sensor noise, the edge of the field and the black frame around it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from drft.data.rendering.canvas import Canvas, Field, FloatImage, over

FRAME_ASPECT = 1.506
"""Width over height of the whole image (4288 x 2848 pixels in IDRiD)."""
FIELD_CENTRE = 0.462
"""Position of the middle of the field, as a share of the width of the frame."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """How one photograph was taken."""

    vignetting: float
    tilt: tuple[float, float]
    """How much brighter the right and the lower side are."""
    halo: float
    """Strength of the bright crescent of stray light at the edge."""
    halo_direction: float
    haze: float
    """Veil of cloudy media: 0 none, 1 opaque."""
    blur: float
    """Standard deviation in field radii."""
    noise: float

    @classmethod
    def sample(cls, rng: np.random.Generator, haze: float = 0.0) -> "Exposure":
        """Return a random exposure; ``haze`` is added to that of the average eye."""
        # Haze and blur are weak, as in photographs that can be graded: stronger ones hide lesions at 96 pixels.
        return cls(
            vignetting=float(rng.uniform(0.15, 0.55)),
            tilt=(float(rng.normal(0, 0.13)), float(rng.normal(0, 0.1))),
            halo=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.22 else 0.0,
            halo_direction=float(rng.uniform(-np.pi, np.pi)),
            haze=min(0.75, haze + float(rng.beta(1.2, 14.0))),
            blur=0.002 + float(rng.gamma(3.0, 0.0007)),
            noise=float(rng.uniform(0.006, 0.016)),
        )


def expose(rng: np.random.Generator, canvas: Canvas, exposure: Exposure, image: FloatImage) -> FloatImage:
    """Return the retina as the camera records it, without the frame."""
    veil = np.clip(exposure.haze * (1 + 0.5 * canvas.noise(rng, 0.8)), 0, 0.85)
    red, green, blue = image.mean(axis=(0, 1)).tolist()
    seen = over(image, veil, (red, 1.04 * green, 1.12 * blue))
    # The illumination is brightest near the middle, tilted, with a few soft clouds.
    fall = 1 - exposure.vignetting * canvas.eccentricity**2.2
    tilt = 1 + exposure.tilt[0] * canvas.x + exposure.tilt[1] * canvas.y
    light: Field = fall * tilt * (1 + 0.07 * canvas.noise(rng, 0.9))
    seen *= light[..., np.newaxis]
    seen = _add_halo(canvas, exposure, seen)
    sigma = exposure.blur * canvas.radius
    grain = ndimage.uniform_filter(rng.standard_normal(seen.shape, dtype=np.float32), (2, 2, 0))
    sharp: FloatImage = ndimage.gaussian_filter(seen, (sigma, sigma, 0), truncate=3.0)
    sharp += np.float32(exposure.noise) * grain
    return sharp


def _add_halo(canvas: Canvas, exposure: Exposure, image: FloatImage) -> FloatImage:
    """Return the image with stray light along one side of the edge."""
    if exposure.halo == 0:
        return image
    angle = np.arctan2(canvas.y, canvas.x) - exposure.halo_direction
    rim = np.exp(-np.clip(1 - canvas.eccentricity, 0, None) / 0.07) * np.clip(np.cos(angle), 0, 1) ** 1.5
    red, green, blue = image.mean(axis=(0, 1)).tolist()
    return over(image, exposure.halo * rim, (0.45 + 0.5 * red, 0.38 + 0.5 * green, 0.2 + 0.5 * blue))


def frame(canvas: Canvas, image: FloatImage) -> NDArray[np.uint8]:
    """Return the image: the field with its alignment notches in a black frame, shape (height, width, 3)."""
    lit = image * _aperture(canvas)[..., np.newaxis]
    width = round(FRAME_ASPECT * canvas.height)
    framed = np.full((canvas.height, width, 3), 1, dtype=np.uint8)
    left = round(FIELD_CENTRE * width - canvas.width / 2)
    pixels = (np.clip(lit, 0, 1) * 255 + 0.5).astype(np.uint8)
    framed[:, left : left + canvas.width] = np.maximum(pixels, 1)
    return framed


def _aperture(canvas: Canvas) -> Field:
    """Return the field stop: a circle with two teeth at the upper right."""
    angle = np.degrees(np.arctan2(-canvas.y, canvas.x))
    teeth = np.maximum(2.2 - np.abs(angle - 34), 2.4 - np.abs(angle - 28.5))
    edge = 0.995 + 0.045 * np.clip(teeth, 0, 1)
    aperture: Field = np.clip((edge - canvas.eccentricity) * canvas.radius + 0.5, 0, 1)
    return aperture
