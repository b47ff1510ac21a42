"""Texture families: fields of shape (n, size, size) with values in [0, 1], drawn from a generator."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

Texture = Callable[[int, int, Generator], Tensor]


def uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    """Draw n numbers between low and high, of shape (n, 1, 1)."""
    return low + (high - low) * torch.rand(n, 1, 1, generator=generator)


def random_coordinates(n: int, size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return coordinates in about [-1, 1], rotated and shifted at random for each image."""
    axis = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    angle = uniform(n, 0, 2 * math.pi, generator)
    cos, sin = angle.cos(), angle.sin()
    x, y = x - uniform(n, -0.5, 0.5, generator), y - uniform(n, -0.5, 0.5, generator)
    return cos * x + sin * y, cos * y - sin * x


def spectral_noise(amplitude: Tensor, size: int, generator: Generator) -> Tensor:
    """Return noise of unit variance with a spectrum of this amplitude, shape (n, size, size // 2 + 1)."""
    white = torch.randn(len(amplitude), size, size, generator=generator)
    field = torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=(size, size))
    deviation = field.std((1, 2), keepdim=True).clamp_min(1e-6)
    noise: Tensor = (field - field.mean((1, 2), keepdim=True)) / deviation
    return noise


def frequencies(size: int) -> tuple[Tensor, Tensor]:
    """Return the vertical and horizontal frequencies of a half spectrum, in cycles per image."""
    vertical = torch.fft.fftfreq(size, 1 / size)[:, None]
    return vertical, torch.fft.rfftfreq(size, 1 / size)[None]


def unit_range(field: Tensor) -> Tensor:
    """Scale each field to [0, 1]."""
    low, high = field.amin((1, 2), keepdim=True), field.amax((1, 2), keepdim=True)
    return (field - low) / (high - low).clamp_min(1e-6)


def power_law(low: float, high: float) -> Texture:
    """Return a texture of noise whose amplitude is a negative power of the frequency, with a random exponent."""

    def texture(n: int, size: int, generator: Generator) -> Tensor:
        vertical, horizontal = frequencies(size)
        radius = (vertical**2 + horizontal**2).sqrt().clamp_min(1)
        return unit_range(spectral_noise(radius ** -uniform(n, low, high, generator), size, generator))

    return texture


def gradient(n: int, size: int, generator: Generator) -> Tensor:
    """Brightness that increases in one direction."""
    u, _ = random_coordinates(n, size, generator)
    return unit_range(u)


def grating(n: int, size: int, generator: Generator) -> Tensor:
    """Parallel waves."""
    u, v = random_coordinates(n, size, generator)
    bend = uniform(n, -0.4, 0.4, generator) * v**2
    return 0.5 + 0.5 * torch.sin(uniform(n, 8, 40, generator) * (u + bend))


def plaid(n: int, size: int, generator: Generator) -> Tensor:
    """Sum of two crossing waves."""
    u, v = random_coordinates(n, size, generator)
    return 0.5 + 0.25 * (
        torch.sin(uniform(n, 8, 30, generator) * u) + torch.sin(uniform(n, 8, 30, generator) * (v + 0.3 * u))
    )


def checkers(n: int, size: int, generator: Generator) -> Tensor:
    """A checkerboard with soft edges."""
    u, v = random_coordinates(n, size, generator)
    wave = uniform(n, 6, 24, generator)
    return 0.5 + 0.5 * torch.tanh(6 * torch.sin(wave * u) * torch.sin(wave * v))


def rings(n: int, size: int, generator: Generator) -> Tensor:
    """Waves around a point."""
    u, v = random_coordinates(n, size, generator)
    return 0.5 + 0.5 * torch.sin(uniform(n, 8, 36, generator) * torch.hypot(u, uniform(n, 0.5, 1, generator) * v))


def rays(n: int, size: int, generator: Generator) -> Tensor:
    """Rays from a point, straight or spiral."""
    u, v = random_coordinates(n, size, generator)
    arms = torch.randint(3, 14, (n, 1, 1), generator=generator)
    return 0.5 + 0.5 * torch.sin(arms * torch.atan2(v, u) + uniform(n, -12, 12, generator) * torch.hypot(u, v))


def marble(n: int, size: int, generator: Generator) -> Tensor:
    """Waves distorted by noise."""
    u, _ = random_coordinates(n, size, generator)
    bend = power_law(1.8, 2.4)(n, size, generator)
    return 0.5 + 0.5 * torch.sin(uniform(n, 5, 15, generator) * (u + uniform(n, 0.6, 2, generator) * bend))


def band(n: int, size: int, generator: Generator) -> Tensor:
    """Blotches of one size, like reaction-diffusion patterns."""
    vertical, horizontal = frequencies(size)
    radius = (vertical**2 + horizontal**2).sqrt()
    centre = uniform(n, 4, 16, generator)
    noise = spectral_noise(torch.exp(-(((radius - centre) / (0.2 * centre)) ** 2)), size, generator)
    return 0.5 + 0.5 * torch.tanh(uniform(n, 1, 4, generator) * (noise - uniform(n, -0.5, 0.5, generator)))


def fibres(n: int, size: int, generator: Generator) -> Tensor:
    """Noise with one direction and wavelength (Gabor noise)."""
    vertical, horizontal = frequencies(size)
    angle, centre = uniform(n, 0, math.pi, generator), uniform(n, 5, 18, generator)
    along = (vertical - centre * angle.sin()) ** 2 + (horizontal - centre * angle.cos().abs()) ** 2
    return unit_range(spectral_noise(torch.exp(-along / (2 * uniform(n, 1, 3, generator) ** 2)), size, generator))


def cells(n: int, size: int, generator: Generator) -> Tensor:
    """Distance to the nearest of random points (Worley 1996)."""
    return unit_range(_nearest_distances(n, size, generator)[..., 0])


def cracks(n: int, size: int, generator: Generator) -> Tensor:
    """Edges between the cells of random points."""
    near = _nearest_distances(n, size, generator)
    return ((near[..., 1] - near[..., 0]) * uniform(n, 4, 14, generator)).clamp(0, 1)


def _nearest_distances(n: int, size: int, generator: Generator) -> Tensor:
    points = torch.rand(n, int(torch.randint(8, 40, (), generator=generator)), 2, generator=generator)
    axis = torch.linspace(0, 1, size)
    grid = torch.cartesian_prod(axis, axis)
    near = torch.cdist(grid.expand(n, -1, -1), points).topk(2, largest=False).values
    return near.view(n, size, size, 2)


TEXTURES: tuple[Texture, ...] = (
    gradient,
    power_law(2.6, 3.4),
    power_law(1.6, 2.2),
    power_law(0.4, 1.1),
    grating,
    plaid,
    checkers,
    rings,
    rays,
    marble,
    band,
    fibres,
    cells,
    cracks,
)
"""The index is the label."""
