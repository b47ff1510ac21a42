"""Fractals of random iterated function systems, one label per system (FractalDB, Kataoka et al. 2020)."""

import functools
import math

import torch
from torch import Generator, Tensor

CLASSES = 40
"""Number of systems."""

_VARIANTS = 8
_MAPS = 3
_POINTS = 256
_STEPS = 160
_WARM_UP = 20
_MIN_FILLED = 0.06
_SYSTEMS_SEED = 1977  # fixed: the systems belong to the task, not to a run


@functools.cache
def fractal_bank(size: int) -> Tensor:
    """Return density images in [0, 1] of shape (CLASSES, variants, size, size).

    Variants of a class differ by up to 10 % in each coefficient. Systems that collapse to few pixels are left out, as
    in FractalDB.
    """
    generator = torch.Generator().manual_seed(_SYSTEMS_SEED)
    systems: list[Tensor] = []
    while len(systems) < CLASSES:
        images = _densities(_random_systems(CLASSES, generator), size, generator)
        filled = (images > 0).float().mean((1, 2, 3))
        systems += list(images[filled > _MIN_FILLED])
    return torch.stack(systems[:CLASSES])


def _random_systems(n: int, generator: Generator) -> Tensor:
    """Return affine maps of shape (n, variants, maps, 2, 3) whose linear parts contract."""
    angles = 2 * math.pi * torch.rand(2, n, _MAPS, generator=generator)
    stretch = 0.35 + 0.5 * torch.rand(n, _MAPS, 2, generator=generator)
    linear = _rotation(angles[0]) @ torch.diag_embed(stretch) @ _rotation(angles[1])
    shift = 2 * torch.rand(n, _MAPS, 2, 1, generator=generator) - 1
    maps = torch.cat([linear, shift], dim=-1)[:, None]
    jitter = 1 + 0.1 * (2 * torch.rand(n, _VARIANTS, _MAPS, 2, 3, generator=generator) - 1)
    return maps * jitter


def _rotation(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def _densities(systems: Tensor, size: int, generator: Generator) -> Tensor:
    """Run the chaos game on all systems at once, and return the density of the points."""
    n, variants = systems.shape[:2]
    maps = systems.flatten(0, 1)
    chance = torch.linalg.det(maps[..., :2]).abs().clamp_min(0.02)
    points = torch.zeros(len(maps), _POINTS, 2)
    visited = []
    for step in range(_STEPS):
        choice = torch.multinomial(chance, _POINTS, replacement=True, generator=generator)
        chosen = maps.gather(1, choice[..., None, None].expand(-1, -1, 2, 3))
        points = (chosen[..., :2] @ points[..., None])[..., 0] + chosen[..., 2]
        if step >= _WARM_UP:
            visited.append(points)
    return _histograms(torch.cat(visited, dim=1), size).view(n, variants, size, size)


def _histograms(points: Tensor, size: int) -> Tensor:
    low, high = points.amin(1, keepdim=True), points.amax(1, keepdim=True)
    pixels = ((points - low) / (high - low).clamp_min(1e-6) * (size - 1)).long()
    flat = pixels[..., 0] * size + pixels[..., 1]
    counts = torch.zeros(len(points), size * size).scatter_add_(1, flat, torch.ones(flat.shape))
    return (counts / counts.mean(1, keepdim=True) / 4).clamp(0, 1).view(-1, size, size)
