"""The vessel tree: arcades from the optic disc, tapering branches, veins darker and wider than arteries."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drft.data.rendering.anatomy import Anatomy
from drft.data.rendering.canvas import Canvas, FloatImage, Points, absorb

STEP = 0.02
"""Distance between the points of a branch, in field radii."""
AVASCULAR_RADIUS = 0.12
"""No vessel is closer to the fovea, in field radii."""
VEIN_WIDTH = 0.032
"""Width of a great vein near the disc, in field radii."""
ARTERY_WIDTH = 0.023


@dataclass(frozen=True, slots=True)
class Vessel:
    """One unbranched vessel."""

    points: Points
    """Centre line, shape (n, 2), in field radii."""
    widths: NDArray[np.float64]
    """Width at each point, shape (n,)."""
    vein: bool


def grow_tree(rng: np.random.Generator, anatomy: Anatomy, beading: float = 0.0) -> list[Vessel]:
    """Return random vessels of an eye, thickest last.

    Args:
        rng: random numbers; how many are used does not depend on the beading.
        anatomy: the eye.
        beading: depth of venous beading, from 0 for none to 1.
    """
    trunks = [*_arcades(rng, anatomy), *_macular_twigs(rng, anatomy)]
    tree = [vessel for trunk in trunks for vessel in _with_branches(rng, anatomy, trunk, generations=2)]
    tree = [_beaded(vessel, beading) for vessel in tree]
    return sorted(tree, key=lambda vessel: float(vessel.widths.max()))


def _arcades(rng: np.random.Generator, anatomy: Anatomy) -> Iterator[Vessel]:
    """Yield the arteries and veins of the temporal arcades and of the nasal side."""
    fovea, disc = np.array(anatomy.fovea), np.array(anatomy.disc)
    for vein in (True, False):
        width = anatomy.calibre * (VEIN_WIDTH if vein else ARTERY_WIDTH)
        for up in (-1, 1):
            height = up * (rng.uniform(0.56, 0.76) if vein else rng.uniform(0.66, 0.92))
            origin = disc + np.array([rng.normal(0.02, 0.03), up * rng.uniform(0.0, 0.05)])
            corners = np.array(
                [
                    origin,
                    disc + np.array([-0.02 if vein else 0.06, 0.75 * height]) + rng.normal(0, 0.05, 2),
                    fovea + np.array([0.15, 1.1 * height]) + rng.normal(0, 0.1, 2),
                    fovea + np.array([-0.95, rng.uniform(0.5, 1.0) * height]),
                ]
            )
            yield _course(rng, anatomy, corners, width * rng.uniform(0.85, 1.1), vein)
            side = rng.uniform(0.15, 0.75)
            reach = disc + np.array([side, up * rng.uniform(0.6, 0.9)])
            bow = (origin + reach) / 2 + rng.normal(0, 0.06, (2, 2))
            yield _course(rng, anatomy, np.array([origin, *bow, reach]), width * rng.uniform(0.5, 0.75), vein)


def _macular_twigs(rng: np.random.Generator, anatomy: Anatomy) -> Iterator[Vessel]:
    """Yield the thin vessels from the disc towards the macula and the nose."""
    for _ in range(int(rng.integers(6, 11))):
        heading = (np.pi if rng.random() < 0.65 else 0.0) + rng.normal(0, 0.6)
        start = np.array(anatomy.disc) + 0.6 * anatomy.disc_radius * np.array([np.cos(heading), np.sin(heading)])
        length = rng.uniform(0.35, 0.8)
        width = rng.uniform(0.008, 0.013) * anatomy.calibre
        vessel = _walk(rng, anatomy, start, heading, length, width, vein=bool(rng.random() < 0.5))
        if vessel:
            yield vessel


def _course(rng: np.random.Generator, anatomy: Anatomy, corners: Points, width: float, vein: bool) -> Vessel:
    """Return a vessel along a cubic Bézier curve, made tortuous, thin where it leaves the disc."""
    t = np.linspace(0, 1, 90)[:, np.newaxis]
    basis = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    points = basis @ corners
    tangent = np.gradient(points, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / np.linalg.norm(tangent, axis=1, keepdims=True)
    swing = np.zeros(len(t))
    for waves, size in ((2.5, 0.02), (6, 0.008), (13, 0.0035)):
        swing += size * np.sin(2 * np.pi * (waves * t[:, 0] + rng.random()))
    envelope = anatomy.tortuosity * np.minimum(1, 6 * t[:, 0])
    taper = np.minimum(0.55 + 6 * t[:, 0], 1) * (1 - 0.68 * t[:, 0])
    return Vessel(points + normal * (envelope * swing)[:, np.newaxis], width * taper, vein)


def _walk(
    rng: np.random.Generator,
    anatomy: Anatomy,
    start: Points,
    heading: float,
    length: float,
    width: float,
    *,
    vein: bool,
) -> Vessel | None:
    """Return a vessel along a random walk, or None if it would be too short to see."""
    steps = int(length / STEP)
    if steps < 4:
        return None
    wiggle = np.convolve(rng.normal(0, 0.13, steps + 4), np.ones(5) / 2.2, mode="valid")
    headings = heading + rng.normal(0, 0.6 / steps) * np.arange(steps) + anatomy.tortuosity**0.5 * wiggle
    points = start + np.cumsum(STEP * np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0)
    points = np.vstack([start, points])
    to_fovea = np.hypot(*(points - np.array(anatomy.fovea)).T)
    outside = (to_fovea < AVASCULAR_RADIUS) | (np.hypot(*points.T) > 1.1)
    end = int(np.argmax(outside)) if outside.any() else len(points)
    if end < 4:
        return None
    return Vessel(points[:end], np.linspace(width, 0.4 * width, end), vein)


def _with_branches(rng: np.random.Generator, anatomy: Anatomy, trunk: Vessel, generations: int) -> Iterator[Vessel]:
    """Yield a vessel and all its branches."""
    yield trunk
    if generations == 0:
        return
    steps = np.linalg.norm(np.diff(trunk.points, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    position, side = rng.uniform(0.15, 0.3), 1 if rng.random() < 0.5 else -1  # along the trunk, in field radii
    while position < along[-1] - 0.05:
        at = int(np.searchsorted(along, position))
        dx, dy = trunk.points[at] - trunk.points[at - 1]
        heading = float(np.arctan2(dy, dx) + side * rng.uniform(0.35, 0.95))
        width = float(trunk.widths[at]) * rng.uniform(0.35, 0.65)
        length = rng.uniform(0.25, 0.85) * (1.0 if generations > 1 else 0.45)
        child = _walk(rng, anatomy, trunk.points[at], heading, length, width, vein=trunk.vein)
        if child:
            yield from _with_branches(rng, anatomy, child, generations - 1)
        position += rng.uniform(0.1, 0.32)
        side = -side if rng.random() < 0.75 else side


def _beaded(vessel: Vessel, depth: float) -> Vessel:
    """Return a great vein with beads along its middle; arteries and thin veins are unchanged."""
    if not vessel.vein or vessel.widths.max() < 0.5 * VEIN_WIDTH:
        return vessel
    index = np.arange(len(vessel.widths))
    stretch = np.sin(np.pi * index / len(index))
    beads = np.sin(2 * np.pi * index / 5.5)
    return Vessel(vessel.points, vessel.widths * (1 + depth * stretch * (0.25 + 0.6 * beads)), vein=True)


def paint_vessels(canvas: Canvas, tree: list[Vessel], image: FloatImage) -> FloatImage:
    """Return the image with the vessels: arteries over veins, thin vessels partly transparent."""
    veins, arteries, reflex = canvas.layer(), canvas.layer(), canvas.layer()
    for vessel in tree:
        layer = veins if vessel.vein else arteries
        run = 2 if vessel.widths.max() > 0.5 * ARTERY_WIDTH else 5
        for first in range(0, len(vessel.points) - 1, run):
            points = vessel.points[first : first + run + 2]
            width = float(vessel.widths[first])
            layer.stroke(points, width, min(1.0, max(0.35, width / 0.02)))
            if width > 0.015:
                reflex.stroke(points, 0.28 * width, 0.8)
    artery = arteries.alpha()
    vein = veins.alpha() * (1 - artery)
    image = absorb(image, 0.85 * vein, (0.28, 0.9, 0.6))
    image = absorb(image, 0.62 * artery, (0.2, 0.95, 0.75))
    return absorb(image, -0.22 * reflex.alpha(), (0.4, 1.0, 0.8))
