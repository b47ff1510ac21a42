"""Lesions inside the retina: microaneurysms, haemorrhages, exudates, IRMA and laser scars."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from drft.data.rendering.anatomy import Anatomy
from drft.data.rendering.canvas import Canvas, FloatImage, Layer, Points, absorb, over
from drft.data.rendering.lesion_amounts import LesionAmounts

BLOOD = (0.32, 1.0, 0.85)
"""Absorption of blood in red, green and blue, relative to green."""

# Wider than in life: there, the radius of a microaneurysm is at most 0.012, half a pixel of a 96-pixel image, and new
# vessels are thinner still. The signs of grades 1, 3 and 4 were hardly visible to a network at that size.
MICROANEURYSM_RADIUS = (0.013, 0.021)
"""Smallest and largest radius of a microaneurysm, in field radii."""
NEW_VESSEL_WIDTH = 0.01
"""Width of the vessels of IRMA and neovascularization, in field radii."""

_ANGLES = np.linspace(0, 2 * np.pi, 12, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_WAVES = np.array([2.0, 3.0, 4.0])


def paint_bright_lesions(
    rng: np.random.Generator, canvas: Canvas, anatomy: Anatomy, amounts: LesionAmounts, image: FloatImage
) -> FloatImage:
    """Return the image with soft and hard exudates; vessels are painted over them later."""
    shine = min(1.15, anatomy.colour[0] / 0.65)
    soft = canvas.layer()
    for _ in range(amounts.soft_exudates):
        centre = _near_arcades(rng, anatomy)
        for _ in range(5):
            blob(rng, soft, centre + rng.normal(0, 0.016, 2), rng.uniform(0.01, 0.028), rng.uniform(0.4, 0.75))
    cotton = ndimage.gaussian_filter(soft.alpha(), 0.011 * canvas.radius)
    image = over(image, cotton, (0.93 * shine, 0.78 * shine, 0.25 + 0.8 * anatomy.colour[2]))
    hard = canvas.layer()
    _draw_exudates(rng, hard, anatomy, amounts)
    return over(image, 0.95 * hard.alpha(), (0.98 * shine, 0.85 * shine, 0.12 + 0.9 * anatomy.colour[2]))


def _draw_exudates(rng: np.random.Generator, layer: Layer, anatomy: Anatomy, amounts: LesionAmounts) -> None:
    """Draw hard exudates in rings, clumps and loose groups; rings have gaps."""
    clusters = [_cluster(rng, anatomy) for _ in range(amounts.exudate_clusters)]
    for _ in range(amounts.hard_exudates):
        cluster = clusters[int(rng.integers(len(clusters)))]
        angle = cluster.direction + rng.normal(0, cluster.opening)
        away = cluster.radius * rng.normal(1, 0.12) + abs(rng.normal(0, cluster.spread))
        at = cluster.centre + away * np.array([np.cos(angle), np.sin(angle)])
        blob(rng, layer, at, 0.007 + rng.gamma(1.3, 0.005), rng.uniform(0.6, 1.0))


@dataclass(frozen=True, slots=True)
class _Cluster:
    centre: Points
    radius: float
    spread: float
    direction: float
    opening: float


def _cluster(rng: np.random.Generator, anatomy: Anatomy) -> _Cluster:
    """Return a random group of exudates near the fovea: a ring around a leaking vessel, or a loose group."""
    ring = rng.random() < 0.5
    return _Cluster(
        centre=np.array(anatomy.fovea) + rng.normal(0, (0.22, 0.2)),
        radius=rng.uniform(0.07, 0.2) if ring else 0.0,
        spread=0.02 if ring else rng.uniform(0.04, 0.12),
        direction=rng.uniform(-np.pi, np.pi),
        opening=rng.uniform(0.6, 2.5) if ring else 4.0,
    )


def paint_red_lesions(
    rng: np.random.Generator, canvas: Canvas, anatomy: Anatomy, amounts: LesionAmounts, image: FloatImage
) -> FloatImage:
    """Return the image with microaneurysms, haemorrhages and IRMA."""
    layer = canvas.layer()
    for _ in range(amounts.microaneurysms):
        blob(rng, layer, _in_posterior_pole(rng, anatomy), rng.uniform(*MICROANEURYSM_RADIUS), rng.uniform(0.7, 1.0))
    foci = [_anywhere(rng, anatomy) for _ in range(4)]
    for number in range(amounts.haemorrhages):
        focus = foci[number % 4] + rng.normal(0, 0.16, 2)
        at = focus if rng.random() < 0.6 and np.hypot(*focus) < 0.95 else _anywhere(rng, anatomy)
        _draw_haemorrhage(rng, layer, anatomy, at)
    for _ in range(amounts.irma):
        tangle(rng, layer, _near_arcades(rng, anatomy), size=0.08, strands=5)
    blood = ndimage.gaussian_filter(layer.alpha(), 0.006 * canvas.radius)
    return absorb(image, (0.9 + 0.14 * canvas.noise(rng, 0.06)) * blood, BLOOD)


def _draw_haemorrhage(rng: np.random.Generator, layer: Layer, anatomy: Anatomy, at: Points) -> None:
    """Draw a dot, a ragged blot, or a flame along the nerve fibres."""
    kind = rng.random()
    if kind < 0.5:
        blob(rng, layer, at, rng.uniform(0.014, 0.024), rng.uniform(0.6, 1.0))
    elif kind < 0.75:
        opacity = rng.uniform(0.5, 0.95)
        size = 0.015 + rng.gamma(2.0, 0.006)
        for _ in range(4):
            blob(rng, layer, at + rng.normal(0, 0.9 * size, 2), size * rng.uniform(0.5, 1.1), opacity)
    else:
        _draw_flame(rng, layer, anatomy, at)


def _draw_flame(rng: np.random.Generator, layer: Layer, anatomy: Anatomy, at: Points) -> None:
    """Draw short parallel strokes that point to the disc."""
    towards = np.array(anatomy.disc) - at
    towards /= max(float(np.linalg.norm(towards)), 1e-3)
    across = np.array([-towards[1], towards[0]])
    length, opacity = rng.uniform(0.03, 0.07), rng.uniform(0.5, 1.0)
    for offset in (-1.0, -0.5, 0.0, 0.5, 1.0):
        middle = at + (0.014 * offset + rng.normal(0, 0.003)) * across + rng.normal(0, 0.012) * towards
        reach = length * (1 - 0.4 * abs(offset)) * rng.uniform(0.5, 1.1)
        layer.stroke(np.array([middle - reach * towards, middle + reach * towards]), 0.008, opacity)


def paint_laser_scars(
    rng: np.random.Generator, canvas: Canvas, anatomy: Anatomy, count: int, image: FloatImage
) -> FloatImage:
    """Return the image with burns of scatter photocoagulation: pale spots with pigment, outside the arcades."""
    pale, pigment = canvas.layer(), canvas.layer()
    for _ in range(count):
        at = _in_periphery(rng, anatomy)
        size = rng.uniform(0.022, 0.038)
        blob(rng, pale, at, size, rng.uniform(0.25, 0.7))
        if rng.random() < 0.5:
            blob(rng, pigment, at + rng.normal(0, 0.008, 2), 0.45 * size, rng.uniform(0.3, 0.9))
    image = over(image, 0.6 * pale.alpha(), (0.9, 0.72, 0.3 + 0.7 * anatomy.colour[2]))
    return absorb(image, 0.8 * pigment.alpha(), (0.9, 0.9, 0.8))


def blob(rng: np.random.Generator, layer: Layer, at: Points, radius: float, opacity: float) -> None:
    """Draw a roundish spot with an irregular outline."""
    wobble = rng.uniform(0, 1, 3) @ np.sin(_WAVES[:, np.newaxis] * (_ANGLES + rng.uniform(0, 7, (3, 1)))) / 7
    layer.polygon(at + radius * (1 + wobble)[:, np.newaxis] * _CIRCLE, opacity)


def tangle(rng: np.random.Generator, layer: Layer, at: Points, size: float, strands: int) -> None:
    """Draw fine, tortuous vessels that loop and cross within ``size`` of a point."""
    for _ in range(strands):
        turns = rng.normal(0, 0.45, 26) + rng.normal(0, 0.12)
        headings = rng.uniform(-np.pi, np.pi) + np.cumsum(turns)
        path = np.cumsum(0.14 * size * np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0)
        layer.stroke(at + path - path[0] + rng.normal(0, 0.2 * size, 2), NEW_VESSEL_WIDTH, rng.uniform(0.7, 1.0))


def _in_posterior_pole(rng: np.random.Generator, anatomy: Anatomy) -> Points:
    """Return a random position inside the arcades, but not on the fovea."""
    angle, away = rng.uniform(-np.pi, np.pi), rng.uniform(0.1, 0.62)
    return np.array(anatomy.fovea) + away * np.array([np.cos(angle), 0.95 * np.sin(angle)])


def _near_arcades(rng: np.random.Generator, anatomy: Anatomy) -> Points:
    """Return a random position in the band along the great vessels."""
    angle, away = rng.uniform(-np.pi, np.pi), rng.normal(0.6, 0.1)
    return np.array(anatomy.fovea) + away * np.array([np.cos(angle) + 0.3, np.sin(angle)])


def _anywhere(rng: np.random.Generator, anatomy: Anatomy) -> Points:
    """Return a random position in the field that is not on the disc."""
    while True:
        angle, away = rng.uniform(-np.pi, np.pi), 0.92 * np.sqrt(rng.uniform(0.01, 1))
        at = np.array([away * np.cos(angle), away * np.sin(angle)])
        if np.hypot(*(at - np.array(anatomy.disc))) > 1.2 * anatomy.disc_radius:
            return at


def _in_periphery(rng: np.random.Generator, anatomy: Anatomy) -> Points:
    """Return a random position outside the arcades."""
    while True:
        at = _anywhere(rng, anatomy)
        if np.hypot(*(at - np.array(anatomy.fovea))) > 0.6:
            return at
