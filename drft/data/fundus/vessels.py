"""The vessel tree: arcades from the optic disc, branches that taper, veins darker and wider than arteries."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drft.data.fundus.anatomy import Anatomy
from drft.data.fundus.canvas import Canvas, Picture, absorb

STEP = 0.018
"""Distance between the points of a vessel, in field radii."""
AVASCULAR_RADIUS = 0.13
"""No vessel comes closer to the fovea."""

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Vessel:
    """One unbranched vessel."""

    points: Points
    """Course, shape (n, 2), in field radii."""
    widths: NDArray[np.float64]
    """Width at each point."""
    vein: bool


def grow_tree(rng: np.random.Generator, anatomy: Anatomy, beading: float = 0.0) -> list[Vessel]:
    """Grow all vessels of an eye, thickest last.

    Args:
        rng: source of chance.
        anatomy: the eye.
        beading: depth of venous beading (0 none, 1 like a string of pearls).
    """
    trunks = [*_arcades(rng, anatomy), *_macular_twigs(rng, anatomy)]
    tree = [vessel for trunk in trunks for vessel in _with_branches(rng, anatomy, trunk, generations=2)]
    if beading:
        tree = [_beaded(rng, vessel, beading) for vessel in tree]
    return sorted(tree, key=lambda vessel: float(vessel.widths[0]))


def _arcades(rng: np.random.Generator, anatomy: Anatomy) -> Iterator[Vessel]:
    """Yield an artery and a vein in each quadrant."""
    fovea = np.array(anatomy.fovea)
    start = np.array(anatomy.disc)
    for vein in (True, False):
        width = anatomy.calibre * (0.036 if vein else 0.026)
        for up in (-1, 1):
            jitter = rng.normal(0, 0.05, (6, 2))
            height = rng.uniform(0.6, 0.78)
            origin = start + (rng.normal(-0.01, 0.02), up * 0.02)
            bow = start + (-0.08, up * 0.5) + jitter[0]
            crest = fovea + (0.12, up * height) + jitter[1]
            temporal = np.array([origin, bow, crest, fovea + (-0.95, up * rng.uniform(0.3, 0.75)) + jitter[2]])
            yield _course(rng, anatomy, temporal, width * rng.uniform(0.85, 1.1), vein)
            nasal = np.array([origin, start + (0.06, up * 0.2), start + (0.2, up * 0.4), start + (0.6, up * 0.7)])
            nasal[1:] += jitter[3:]
            yield _course(rng, anatomy, nasal, width * rng.uniform(0.55, 0.8), vein)


def _macular_twigs(rng: np.random.Generator, anatomy: Anatomy) -> Iterator[Vessel]:
    """Yield the thin vessels that leave the disc towards the macula and the nose."""
    for _ in range(int(rng.integers(4, 8))):
        heading = (np.pi if rng.random() < 0.7 else 0.0) + rng.normal(0, 0.55)
        start = np.array(anatomy.disc) + 0.05 * np.array([np.cos(heading), np.sin(heading)])
        length = float(rng.uniform(0.35, 0.75))
        vessel = _walk(rng, anatomy, start, heading, length, 0.011 * anatomy.calibre, vein=bool(rng.random() < 0.5))
        if vessel:
            yield vessel


def _course(rng: np.random.Generator, anatomy: Anatomy, corners: Points, width: float, vein: bool) -> Vessel:
    """Return a vessel along a cubic Bézier curve, made tortuous."""
    t = np.linspace(0, 1, 90)[:, np.newaxis]
    basis = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    points = basis @ corners
    tangent = np.gradient(points, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / np.linalg.norm(tangent, axis=1, keepdims=True)
    swing = sum(
        size * np.sin(2 * np.pi * (waves * t[:, 0] + rng.random()))
        for waves, size in ((3, 0.014), (7, 0.007), (13, 0.003))
    )
    envelope = np.minimum(1, 6 * t[:, 0])
    points = points + normal * (anatomy.tortuosity * envelope * swing)[:, np.newaxis]
    return Vessel(points, width * (1 - 0.72 * t[:, 0]), vein)


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
    """Return a vessel that wanders off, or None if it would be too short to see."""
    steps = int(length / STEP)
    if steps < 4:
        return None
    bend = np.convolve(rng.normal(0, 0.16 * anatomy.tortuosity**0.5, steps + 4), np.ones(5) / 2.5, mode="valid")
    headings = heading + np.cumsum(bend + rng.normal(0, 0.02))
    points = start + np.cumsum(STEP * np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0)
    points = np.vstack([start, points])
    to_fovea = np.hypot(*(points - np.array(anatomy.fovea)).T)
    outside = (to_fovea < AVASCULAR_RADIUS) | (np.hypot(*points.T) > 1.1)
    end = int(np.argmax(outside)) if outside.any() else len(points)
    if end < 4:
        return None
    return Vessel(points[:end], np.linspace(width, 0.35 * width, end), vein)


def _with_branches(rng: np.random.Generator, anatomy: Anatomy, trunk: Vessel, generations: int) -> Iterator[Vessel]:
    """Yield a vessel and all that branches from it."""
    yield trunk
    if generations == 0:
        return
    steps = np.linalg.norm(np.diff(trunk.points, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    place, side = float(rng.uniform(0.12, 0.3)), 1 if rng.random() < 0.5 else -1
    while place < along[-1] - 0.05:
        at = int(np.searchsorted(along, place))
        dx, dy = trunk.points[at] - trunk.points[at - 1]
        heading = float(np.arctan2(dy, dx) + side * rng.uniform(0.5, 1.1))
        width = float(trunk.widths[at]) * rng.uniform(0.4, 0.75)
        length = rng.uniform(0.2, 0.65) * (1.0 if generations > 1 else 0.5)
        child = _walk(rng, anatomy, trunk.points[at], heading, length, width, vein=trunk.vein)
        if child:
            yield from _with_branches(rng, anatomy, child, generations - 1)
        place += rng.uniform(0.08, 0.28)
        side = -side if rng.random() < 0.75 else side


def _beaded(rng: np.random.Generator, vessel: Vessel, depth: float) -> Vessel:
    """Return a vein with beading along a stretch of it; arteries and thin veins stay as they are."""
    if not vessel.vein or vessel.widths[0] < 0.015:
        return vessel
    index = np.arange(len(vessel.widths))
    stretch = np.exp(-0.5 * ((index - rng.uniform(0.2, 0.8) * len(index)) / (0.25 * len(index))) ** 2)
    beads = np.sin(2 * np.pi * index / rng.uniform(4.5, 6.5))
    return Vessel(vessel.points, vessel.widths * (1 + depth * stretch * (0.25 + 0.6 * beads)), vein=True)


def paint_vessels(canvas: Canvas, tree: list[Vessel], picture: Picture) -> Picture:
    """Paint the tree over a retina: arteries lie over veins, thin vessels let the retina through."""
    veins, arteries, reflex = canvas.layer(), canvas.layer(), canvas.layer()
    for vessel in tree:
        layer = veins if vessel.vein else arteries
        for first in range(0, len(vessel.points) - 1, 2):
            points = vessel.points[first : first + 4]
            width = float(vessel.widths[first])
            layer.stroke(points, width, float(np.clip(width / 0.022, 0.3, 1)))
            if width > 0.014:
                reflex.stroke(points, 0.28 * width, 0.8)
    artery = arteries.alpha()
    vein = veins.alpha() * (1 - artery)
    picture = absorb(picture, 0.85 * vein, (0.38, 0.85, 0.6))
    picture = absorb(picture, 0.62 * artery, (0.3, 0.95, 0.75))
    return absorb(picture, -0.22 * reflex.alpha(), (0.5, 1.0, 0.8))
