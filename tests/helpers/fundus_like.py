"""Small images with random vessels; images of different seeds are not similar."""

import numpy as np
from PIL import Image, ImageDraw


def fundus_like(seed: int, size: tuple[int, int] = (300, 200)) -> Image.Image:
    """Draw a disc with branching lines and spots on black; equal seeds give equal images."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (300, 200))
    draw = ImageDraw.Draw(image)
    draw.circle((150, 100), 98, fill=(190, 90, 40))
    draw.circle((205, 100), 11, fill=(255, 220, 140))
    for _ in range(9):
        bends = rng.normal(0, 30, (6, 2)).cumsum(axis=0) + np.array([205, 100])
        draw.line([(205, 100), *map(tuple, bends.tolist())], fill=(110, 30, 20), width=3)
    for x, y in rng.uniform((70, 30), (230, 170), (14, 2)):
        draw.circle((float(x), float(y)), 4, fill=(90, 20, 20))
    disc = Image.new("L", image.size)
    ImageDraw.Draw(disc).circle((150, 100), 98, fill=255)
    return Image.composite(image, Image.new("RGB", image.size), disc).resize(size)
