"""The canvas of a fundus image: coordinates, supersampled layers and smooth noise.

All lengths are in radii of the circular field of view. The origin is the middle of the field, x points to the
nose (the side of the optic disc) and y downwards. A left eye is mirrored after everything is painted.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Field = NDArray[np.floating[Any]]
"""One value per pixel, shape (height, width)."""
FloatImage = NDArray[np.float32]
"""Red, green and blue from 0 to 1, shape (height, width, 3)."""
Points = NDArray[np.float64]
"""Positions in field radii: one of shape (2,), or several of shape (n, 2)."""

SUPERSAMPLING = 3
"""Layers are drawn this many times finer than the canvas, so that edges are smooth."""
RADIUS_TO_HEIGHT = 0.598
"""Radius of the field over the height of the image: the circle is cut at top and bottom, as in IDRiD."""


class Canvas:
    """Pixel grid of the field of view.

    Args:
        height: height of the image in pixels; the canvas is as wide as the field of view.
    """

    def __init__(self, height: int) -> None:
        self.height = height
        self.radius = RADIUS_TO_HEIGHT * height
        self.width = 2 * round(self.radius)

    @cached_property
    def x(self) -> Field:
        """Abscissae of the pixel centres, shape (1, width)."""
        columns = (np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2) / self.radius
        return columns[np.newaxis, :].astype(np.float32)

    @cached_property
    def y(self) -> Field:
        """Ordinates of the pixel centres, shape (height, 1)."""
        rows = (np.arange(self.height, dtype=np.float32) + 0.5 - self.height / 2) / self.radius
        return rows[:, np.newaxis].astype(np.float32)

    @cached_property
    def eccentricity(self) -> Field:
        """Distance of each pixel from the middle of the field."""
        return np.hypot(self.x, self.y)

    def distance(self, x: float, y: float, stretch: float = 1.0) -> Field:
        """Return each pixel's distance from a point; ``stretch`` > 1 makes circles taller than wide."""
        distance: Field = np.hypot(self.x - x, (self.y - y) / stretch)
        return distance

    def bump(self, x: float, y: float, sigma: float, stretch: float = 1.0) -> Field:
        """Return a Gaussian bump of height 1."""
        height: Field = np.exp(-0.5 * (self.distance(x, y, stretch) / sigma) ** 2)
        return height

    def noise(self, rng: np.random.Generator, grain: float, stretch: float = 1.0) -> Field:
        """Return smooth noise of about unit variance whose features are ``grain`` wide (times ``stretch`` in y)."""
        rows = max(2, round(self.height / self.radius / (grain * stretch)) + 1)
        columns = max(2, round(self.width / self.radius / grain) + 1)
        coarse = rng.standard_normal((rows, columns)).astype(np.float32)
        smooth = Image.fromarray(coarse).resize((self.width, self.height), Image.Resampling.BICUBIC)
        return np.asarray(smooth) * np.float32(1.35)

    def layer(self) -> "Layer":
        """Return an empty layer to draw on."""
        return Layer(self)


class Layer:
    """The opacity of one structure over the canvas, drawn supersampled: 0 absent, 1 opaque."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._image = Image.new("L", (canvas.width * SUPERSAMPLING, canvas.height * SUPERSAMPLING))
        self._draw = ImageDraw.Draw(self._image)
        self._scale = canvas.radius * SUPERSAMPLING
        self._middle = np.array([self._image.width / 2, self._image.height / 2])

    def stroke(self, points: Points, width: float, opacity: float) -> None:
        """Draw a line through points of shape (n, 2); joints of thick lines are round."""
        pixels = (points * self._scale + self._middle).ravel().tolist()
        thickness = max(1, round(width * self._scale))
        joint = "curve" if thickness > 2 * SUPERSAMPLING else None
        self._draw.line(pixels, fill=round(255 * opacity), width=thickness, joint=joint)

    def polygon(self, points: Points, opacity: float) -> None:
        """Fill a polygon with corners of shape (n, 2)."""
        pixels = (points * self._scale + self._middle).ravel().tolist()
        self._draw.polygon(pixels, fill=round(255 * opacity))

    def alpha(self) -> Field:
        """Return the opacity at the resolution of the canvas."""
        return np.asarray(self._image.reduce(SUPERSAMPLING), dtype=np.float32) / np.float32(255)


def over(image: FloatImage, alpha: Field, colour: tuple[float, float, float]) -> FloatImage:
    """Return the image with a colour over it at the given opacity."""
    if not alpha.any():
        return image
    channels = [image[..., c] + alpha.astype(np.float32) * (np.float32(colour[c]) - image[..., c]) for c in range(3)]
    return np.stack(channels, axis=-1)


def absorb(image: FloatImage, density: Field, tint: tuple[float, float, float]) -> FloatImage:
    """Return the image seen through an absorber of this optical density, times ``tint`` per channel."""
    if not density.any():
        return image
    channels = [image[..., c] * np.exp(density.astype(np.float32) * np.float32(-tint[c])) for c in range(3)]
    return np.stack(channels, axis=-1)
