"""Scenes: a coloured texture behind a shape, a fractal, lines and spots, with the labels of all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tools.pretrain.procedural import fractals, objects
from tools.pretrain.procedural.textures import TEXTURES, power_law, uniform

TASKS: Mapping[str, int] = MappingProxyType(
    {
        "texture": len(TEXTURES),
        "shape": len(objects.SHAPES),
        "fractal": fractals.CLASSES + 1,
        "lines": len(objects.LINES),
        "dark_spots": len(objects.COUNTS),
        "bright_spots": len(objects.COUNTS),
        "spot_size": 2,
    }
)
"""Name and number of classes of each pretext task."""

_BANK_SIZE = 64


@dataclass(frozen=True)
class Scenes:
    """Images as uint8 (n, 3, size, size) and their labels (n, tasks), in the order of ``TASKS``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class SceneRenderer:
    """Renders batches of scenes; the seed fixes the sequence."""

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._generator = torch.Generator().manual_seed(seed)
        self._bank = fractals.fractal_bank(_BANK_SIZE)

    def render(self, n: int) -> Scenes:
        """Draw n scenes."""
        labels = self._draw_labels(n)
        texture, shape, fractal, lines, dark, bright, large = labels.unbind(1)
        size, generator = self._size, self._generator
        image = _colour(self._draw_textures(texture), _palettes(n, 3, generator))
        image = self._paint(image, objects.shapes(shape, size, generator))
        image = self._paint(image, self._draw_fractals(fractal))
        image = self._paint(image, objects.lines(lines, size, generator))
        image = self._shade(image, objects.spots(dark, large > 0, size, generator), bright=False)
        image = self._shade(image, objects.spots(bright, large > 0, size, generator), bright=True)
        image = self._add_camera_effects(image)
        return Scenes((image.clamp(0, 1) * 255).round().to(torch.uint8), labels)

    def _draw_labels(self, n: int) -> Tensor:
        drawn = [torch.randint(count, (n,), generator=self._generator) for count in TASKS.values()]
        labels = torch.stack(drawn, dim=1)
        names = list(TASKS)
        for name in ("shape", "fractal", "lines"):  # absent from half of the scenes, so spots stay visible
            labels[torch.rand(n, generator=self._generator) < 0.5, names.index(name)] = 0
        return labels

    def _draw_textures(self, labels: Tensor) -> Tensor:
        fields = torch.empty(len(labels), self._size, self._size)
        for label, texture in enumerate(TEXTURES):
            chosen = labels == label
            if chosen.any():
                fields[chosen] = texture(int(chosen.sum()), self._size, self._generator)
        grain = power_law(0.8, 2.0)(len(labels), self._size, self._generator)
        return torch.lerp(fields, grain, uniform(len(labels), 0, 0.35, self._generator))

    def _draw_fractals(self, labels: Tensor) -> Tensor:
        """Return a random variant of each fractal, rotated, scaled and shifted; label 0 is empty."""
        n = len(labels)
        variant = torch.randint(self._bank.shape[1], (n,), generator=self._generator)
        images = self._bank[(labels - 1).clamp_min(0), variant] * (labels > 0)[:, None, None]
        angle = uniform(n, 0, 6.2832, self._generator)
        zoom = uniform(n, 1.1, 2.2, self._generator)
        cos, sin = (zoom * angle.cos())[:, 0, 0], (zoom * angle.sin())[:, 0, 0]
        shift = 0.8 * torch.rand(n, 2, generator=self._generator) - 0.4
        affine = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
        grid = F.affine_grid(torch.cat([affine, shift[..., None]], 2), [n, 1, self._size, self._size], False)
        return F.grid_sample(images[:, None], grid, align_corners=False)[:, 0].clamp(0, 1)

    def _paint(self, image: Tensor, coverage: Tensor) -> Tensor:
        """Paint a random colour over the image, as opaque as the coverage."""
        n = len(image)
        colour = _palettes(n, 1, self._generator)[..., None]
        opacity = uniform(n, 0.35, 1, self._generator)
        return torch.lerp(image, colour.view(n, 3, 1, 1), (coverage * opacity)[:, None])

    def _shade(self, image: Tensor, coverage: Tensor, *, bright: bool) -> Tensor:
        """Darken or lighten the image at the spots, so they differ from any background."""
        n = len(image)
        tint = 0.35 * torch.rand(n, 3, 1, 1, generator=self._generator)
        target = 1 - tint if bright else tint
        opacity = uniform(n, 0.35, 0.9, self._generator)
        return torch.lerp(image, target.expand_as(image), (coverage * opacity)[:, None])

    def _add_camera_effects(self, image: Tensor) -> Tensor:
        """Add uneven light, a round aperture, blur and sensor noise, each of random strength."""
        n, size, generator = len(image), self._size, self._generator
        axis = torch.linspace(-1, 1, size)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        light = 1 + uniform(n, -0.3, 0.3, generator) * x + uniform(n, -0.3, 0.3, generator) * y
        aperture = ((uniform(n, 0.85, 1.6, generator) - torch.hypot(x, y)) * 30).clamp(0, 1)
        dark = uniform(n, 0, 0.6, generator).round()
        image = image * (light * torch.lerp(torch.ones(()), aperture, dark))[:, None]
        soft = F.avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False)
        image = torch.lerp(image, soft, uniform(n, 0, 1, generator)[:, None])
        noise = torch.randn(image.shape, generator=generator)
        return image + uniform(n, 0, 0.04, generator)[:, None] * noise


def render_scenes(n: int, size: int, seed: int, batch: int = 256) -> Scenes:
    """Render n scenes of size x size pixels; equal arguments give equal scenes."""
    renderer = SceneRenderer(size, seed)
    parts = [renderer.render(min(batch, n - start)) for start in range(0, n, batch)]
    return Scenes(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))


def _palettes(n: int, colours: int, generator: Generator) -> Tensor:
    """Draw colours (n, 3, colours): half of the palettes of any colour, half of brown, red, orange and yellow."""
    free = torch.rand(n, 3, colours, generator=generator)
    red = 0.35 + 0.65 * torch.rand(n, 1, colours, generator=generator)
    green = red * (0.15 + 0.7 * torch.rand(n, 1, colours, generator=generator))
    blue = green * torch.rand(n, 1, colours, generator=generator)
    warm = torch.rand(n, 1, 1, generator=generator) < 0.5
    return torch.where(warm, torch.cat([red, green, blue], 1), free)


def _colour(field: Tensor, palette: Tensor) -> Tensor:
    """Map a field in [0, 1] to the three colours of a palette (n, 3, 3)."""
    first, middle, last = (colour[..., None, None] for colour in palette.unbind(2))
    height = 2 * field[:, None]
    lower = torch.lerp(first, middle, height.clamp_max(1))
    return torch.lerp(lower, last.expand_as(lower), (height - 1).clamp_min(0))
