"""Proliferative disease: new vessels, bleeding in front of the retina, fibrous bands."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from drft.data.rendering.anatomy import Anatomy
from drft.data.rendering.canvas import Canvas, FloatImage, Points, absorb, over
from drft.data.rendering.lesion_amounts import LesionAmounts
from drft.data.rendering.lesions import BLOOD, tangle


def paint_proliferation(
    rng: np.random.Generator, canvas: Canvas, anatomy: Anatomy, amounts: LesionAmounts, image: FloatImage
) -> FloatImage:
    """Return the image with the signs of proliferation, from the retina towards the camera."""
    fine = canvas.layer()
    if amounts.vessels_on_disc:
        for _ in range(4):
            at = np.array(anatomy.disc) + rng.normal(0, 0.7 * anatomy.disc_radius, 2)
            tangle(rng, fine, at, size=rng.uniform(0.1, 0.16), strands=5)
    for _ in range(amounts.vessels_elsewhere):
        tangle(rng, fine, _along_arcades(rng, anatomy), size=rng.uniform(0.12, 0.22), strands=9)
    image = absorb(image, 0.9 * fine.alpha(), (0.22, 1.0, 0.8))
    for _ in range(amounts.fibrous_bands):
        image = _paint_band(rng, canvas, anatomy, image)
    for _ in range(amounts.preretinal_haemorrhages):
        image = _paint_bleeding(rng, canvas, anatomy, image)
    return image


def _paint_bleeding(rng: np.random.Generator, canvas: Canvas, anatomy: Anatomy, image: FloatImage) -> FloatImage:
    """Paint a boat-shaped haemorrhage: level at the top, round at the bottom, ragged and opaque."""
    x, y = _along_arcades(rng, anatomy)
    width, depth = rng.uniform(0.14, 0.4), rng.uniform(0.08, 0.24)
    across = np.linspace(-1, 1, 24)
    belly = 1 - np.abs(across) ** rng.uniform(1.5, 3.5)
    hull = depth * belly * (1 + _smooth_noise(rng, 0.25)) + 0.25 * depth * across * rng.normal()
    deck = hull - depth * belly * (1 + _smooth_noise(rng, 0.15))
    outline = np.concatenate([np.stack([across * width, hull], 1), np.stack([across * width, deck], 1)[::-1]])
    layer = canvas.layer()
    layer.polygon(outline + np.array([x, y]), 1.0)
    blood = ndimage.gaussian_filter(layer.alpha(), 0.012 * canvas.radius)
    streaks = np.clip(canvas.noise(rng, 0.12, 2.0) - 0.7, 0, 1) * canvas.bump(x, y + depth, 0.3)
    density = blood * (0.85 + 0.2 * canvas.noise(rng, 0.07)) + 0.6 * streaks
    return absorb(image, 1.2 * density, BLOOD)


def _smooth_noise(rng: np.random.Generator, size: float) -> NDArray[np.float64]:
    """Return 24 values of smoothed noise around 0."""
    return np.convolve(rng.normal(0, size, 26), np.ones(3) / 1.7, mode="valid")


def _paint_band(rng: np.random.Generator, canvas: Canvas, anatomy: Anatomy, image: FloatImage) -> FloatImage:
    """Paint a bluish-white veil of scar tissue along an arcade, with denser strands in it."""
    start = _along_arcades(rng, anatomy)
    headings = rng.uniform(-np.pi, np.pi) + np.cumsum(rng.normal(0, 0.13, 18))
    spine = start + np.cumsum(rng.uniform(0.02, 0.045) * np.stack([np.cos(headings), np.sin(headings)], 1), axis=0)
    veil, strands = canvas.layer(), canvas.layer()
    veil.stroke(spine, rng.uniform(0.06, 0.13), 0.6)
    for _ in range(6):
        course = spine + np.cumsum(rng.normal(0, 0.008, spine.shape), axis=0) + rng.normal(0, 0.03, 2)
        strands.stroke(course, rng.uniform(0.006, 0.02), rng.uniform(0.3, 0.7))
    soft = ndimage.gaussian_filter(veil.alpha(), 0.03 * canvas.radius) * (0.9 + 0.3 * canvas.noise(rng, 0.1))
    alpha = np.clip(0.7 * soft + 0.55 * ndimage.gaussian_filter(strands.alpha(), 0.008 * canvas.radius), 0, 0.95)
    return over(image, alpha, (0.82, 0.72, 0.5 + 0.5 * anatomy.colour[2]))


def _along_arcades(rng: np.random.Generator, anatomy: Anatomy) -> Points:
    """Return a random position on the upper or lower arcade."""
    up = -1 if rng.random() < 0.5 else 1
    return np.array([anatomy.fovea[0] + rng.uniform(-0.4, 0.6), anatomy.fovea[1] + up * rng.normal(0.52, 0.08)])
