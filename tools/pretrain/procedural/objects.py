"""Objects in front of a texture: shapes, lines and spots, as coverage in [0, 1] of shape (n, size, size)."""

import math

import torch
from torch import Generator, Tensor

from tools.pretrain.procedural.textures import random_coordinates, uniform

SHAPES = ("none", "disc", "ellipse", "ring", "triangle", "square", "pentagon", "star", "cross", "crescent")
"""Labels of the large shape."""

LINES = (0, 1, 3, 6, 10)
"""Largest number of lines of each label: none, one, two or three, and so on."""

COUNTS = (0, 1, 3, 7, 14, 28)
"""Largest number of spots of each label."""

_RADIUS = 7  # half the side of a spot's patch, in pixels


def shapes(labels: Tensor, size: int, generator: Generator) -> Tensor:
    """Draw one large shape per image; labels index ``SHAPES``."""
    n = len(labels)
    u, v = random_coordinates(n, size, generator)
    radius, thickness = uniform(n, 0.15, 0.5, generator), uniform(n, 0.03, 0.09, generator)
    distance = torch.full((n, size, size), -1.0)
    for label, name in enumerate(SHAPES):
        chosen = labels == label
        if name != "none" and chosen.any():
            distance[chosen] = _signed_distance(name, u[chosen], v[chosen], radius[chosen], thickness[chosen])
    return (distance * uniform(n, 15, 60, generator) + 0.5).clamp(0, 1)


def lines(labels: Tensor, size: int, generator: Generator) -> Tensor:
    """Draw curved lines that start at one point; labels index ``LINES``."""
    n = len(labels)
    most = torch.tensor(LINES)[labels]
    least = torch.where(labels > 0, torch.tensor((0, *LINES))[labels] + 1, 0)
    count = _between(least, most, generator)[:, None, None]
    root_u, root_v = uniform(n, -0.8, 0.8, generator), uniform(n, -0.8, 0.8, generator)
    width = uniform(n, 0.008, 0.035, generator)
    coverage = torch.zeros(n, size, size)
    for number in range(max(LINES)):
        chosen = (count > number)[:, 0, 0]
        if chosen.any():
            line = _line(root_u[chosen], root_v[chosen], width[chosen], size, generator)
            coverage[chosen] = torch.maximum(coverage[chosen], line)
    return coverage


def spots(labels: Tensor, large: Tensor, size: int, generator: Generator) -> Tensor:
    """Scatter small soft spots; labels index ``COUNTS``, ``large`` (n,) marks the images with larger spots."""
    n = len(labels)
    least = torch.where(labels > 0, torch.tensor((0, *COUNTS))[labels] + 1, 0)
    count = _between(least, torch.tensor(COUNTS)[labels], generator)
    image = torch.arange(n).repeat_interleave(count)
    total = len(image)
    base = torch.where(large, 2.2, 0.9)[image]
    radius = base * (0.75 + 0.6 * torch.rand(total, generator=generator))
    centre = _centres(image, n, size, generator)
    return _stamp(image, centre, radius, torch.Size((n, size, size)), generator)


def _signed_distance(name: str, u: Tensor, v: Tensor, radius: Tensor, thickness: Tensor) -> Tensor:
    """Return the distance of each point from the outline of a shape, negative outside."""
    far = torch.hypot(u, v)
    corners = {"triangle": 3, "square": 4, "pentagon": 5}
    if name in corners:
        return radius - _polygon_distance(u, v, corners[name])
    distances = {
        "disc": radius - far,
        "ellipse": radius - torch.hypot(u, 2.2 * v),
        "ring": thickness - (far - radius).abs(),
        "star": radius * (0.65 + 0.35 * torch.cos(5 * torch.atan2(v, u))) - far,
        "cross": torch.minimum(radius - torch.maximum(u.abs(), v.abs()), thickness - torch.minimum(u.abs(), v.abs())),
        "crescent": torch.minimum(radius - far, torch.hypot(u - 0.6 * radius, v) - radius),
    }
    return distances[name]


def _polygon_distance(u: Tensor, v: Tensor, corners: int) -> Tensor:
    sector = 2 * math.pi / corners
    angle = torch.remainder(torch.atan2(v, u), sector) - sector / 2
    return torch.hypot(u, v) * torch.cos(angle)


def _line(root_u: Tensor, root_v: Tensor, width: Tensor, size: int, generator: Generator) -> Tensor:
    """Draw a curved, wavy half line from the root, thinner towards its end, in a random direction."""
    n = len(width)
    axis = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    angle = uniform(n, 0, 2 * math.pi, generator)
    along = angle.cos() * (x - root_u) + angle.sin() * (y - root_v)
    across = angle.cos() * (y - root_v) - angle.sin() * (x - root_u)
    bend = uniform(n, -0.6, 0.6, generator) * along**2
    wave = uniform(n, 0, 0.05, generator) * torch.sin(uniform(n, 4, 14, generator) * along)
    thickness = width * (1 - 0.35 * along).clamp(0.3, 1)
    return ((thickness - (across - bend - wave).abs()) * size / 2 + 0.5).clamp(0, 1) * (along > 0)


def _between(least: Tensor, most: Tensor, generator: Generator) -> Tensor:
    share = torch.rand(len(least), generator=generator)
    return least + (share * (most - least + 1)).long().clamp_max(most - least)


def _centres(image: Tensor, n: int, size: int, generator: Generator) -> Tensor:
    """Place spots over the whole image, or (in a third of the images) around one point."""
    scattered = torch.rand(len(image), 2, generator=generator)
    point = 0.2 + 0.6 * torch.rand(n, 2, generator=generator)
    gathered = point[image] + 0.12 * torch.randn(len(image), 2, generator=generator)
    clustered = (torch.rand(n, generator=generator) < 1 / 3)[image][:, None]
    return torch.where(clustered, gathered, scattered).clamp(0.03, 0.97) * (size - 1)


def _stamp(image: Tensor, centre: Tensor, radius: Tensor, shape: torch.Size, generator: Generator) -> Tensor:
    """Draw each spot's patch into its image; where spots overlap, the larger coverage counts."""
    n, size, _ = shape
    offset = torch.arange(-_RADIUS, _RADIUS + 1)
    dy, dx = torch.meshgrid(offset, offset, indexing="ij")
    nearest = centre.round()
    y, x = nearest[:, 0, None, None] + dy, nearest[:, 1, None, None] + dx
    flat = uniform(len(image), 0.6, 1.6, generator)
    far = torch.hypot((y - centre[:, 0, None, None]) * flat, x - centre[:, 1, None, None])
    patch = torch.sigmoid((radius[:, None, None] - far) * 2.5)
    inside = (y >= 0) & (y < size) & (x >= 0) & (x < size)
    index = (image[:, None, None] * size + y.clamp(0, size - 1)) * size + x.clamp(0, size - 1)
    coverage = torch.zeros(n * size * size)
    coverage.scatter_reduce_(0, index[inside].long(), patch[inside], reduce="amax")
    return coverage.view(n, size, size)
