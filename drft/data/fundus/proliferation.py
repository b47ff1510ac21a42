"""Proliferative disease: new vessels, bleeding in front of the retina, fibrous bands."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from drft.data.fundus.anatomy import Anatomy
from drft.data.fundus.canvas import Canvas, Layer, Picture, absorb, over
from drft.data.fundus.findings import Findings
from drft.data.fundus.lesions import BLOOD, tangle

Point = NDArray[np.float64]


def paint_proliferation(
    rng: np.random.Generator, canvas: Canvas, anatomy: Anatomy, findings: Findings, picture: Picture
) -> Picture:
    """Paint what lies on and before the retina in proliferative retinopathy, in that order."""
    fine = canvas.layer()
    if findings.vessels_on_disc:
        _draw_disc_vessels(rng, fine, anatomy)
    for _ in range(findings.vessels_elsewhere):
        tangle(rng, fine, _along_arcades(rng, anatomy), size=rng.uniform(0.1, 0.2), strands=9, width=0.007)
    picture = absorb(picture, 0.85 * fine.alpha(), (0.3, 1.0, 0.8))
    for _ in range(findings.fibrous_bands):
        picture = _paint_band(rng, canvas, anatomy, picture)
    for _ in range(findings.preretinal_haemorrhages):
        picture = _paint_bleeding(rng, canvas, anatomy, picture)
    return picture


def _draw_disc_vessels(rng: np.random.Generator, layer: Layer, anatomy: Anatomy) -> None:
    """Draw a wheel of fine vessels on the disc and beyond its edge."""
    for _ in range(5):
        at = np.array(anatomy.disc) + rng.normal(0, 0.6 * anatomy.disc_radius, 2)
        tangle(rng, layer, at, size=rng.uniform(0.1, 0.16), strands=5, width=0.007)


def _paint_bleeding(rng: np.random.Generator, canvas: Canvas, anatomy: Anatomy, picture: Picture) -> Picture:
    """Paint a boat-shaped haemorrhage: level above, sagging below, hiding what lies behind."""
    x, y = _along_arcades(rng, anatomy)
    width, depth = rng.uniform(0.12, 0.38), rng.uniform(0.06, 0.2)
    across = np.linspace(-1, 1, 24)
    ragged = np.convolve(rng.normal(0, 0.16, 28), np.ones(5) / 5, mode="valid")
    hull = depth * (1 - across**2) * (1 + ragged)
    deck = -0.12 * depth * (1 - across**2) + 0.1 * depth * rng.normal() * across
    outline = np.concatenate([np.stack([across * width, hull], 1), np.stack([across * width, deck], 1)[::-1]])
    layer = canvas.layer()
    layer.polygon(outline + np.array([x, y]), 1.0)
    blood = ndimage.gaussian_filter(layer.alpha(), 0.008 * canvas.radius)
    streaks = np.clip(canvas.noise(rng, 0.12, 2.0) - 0.9, 0, 1) * canvas.bump(x, y + depth, 0.3)
    density = blood * (0.95 + 0.12 * canvas.noise(rng, 0.1)) + 0.5 * streaks
    return absorb(picture, 1.25 * density.astype(np.float32), BLOOD)


def _paint_band(rng: np.random.Generator, canvas: Canvas, anatomy: Anatomy, picture: Picture) -> Picture:
    """Paint a whitish strand of scar tissue, drawn out along an arcade."""
    start = _along_arcades(rng, anatomy)
    heading = rng.uniform(-np.pi, np.pi)
    layer = canvas.layer()
    for _ in range(7):
        headings = heading + rng.normal(0, 0.2) + np.cumsum(rng.normal(0, 0.12, 18))
        reach = rng.uniform(0.015, 0.04)
        path = (
            start
            + rng.normal(0, 0.03, 2)
            + np.cumsum(reach * np.stack([np.cos(headings), np.sin(headings)], 1), axis=0)
        )
        layer.stroke(path, rng.uniform(0.008, 0.035), rng.uniform(0.25, 0.6))
    alpha = ndimage.gaussian_filter(layer.alpha(), 0.01 * canvas.radius)
    return over(picture, 0.85 * alpha, (0.85, 0.72, 0.42 + 0.5 * anatomy.colour[2]))


def _along_arcades(rng: np.random.Generator, anatomy: Anatomy) -> Point:
    """Return a place on the upper or lower arcade."""
    up = -1 if rng.random() < 0.5 else 1
    return np.array([anatomy.fovea[0] + rng.uniform(-0.4, 0.6), anatomy.fovea[1] + up * rng.normal(0.52, 0.08)])
