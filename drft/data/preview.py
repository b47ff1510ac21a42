"""Contact sheets: images of each class, and the same images augmented.

The images are shown as the networks see them, cropped to the field of view. Test images are not shown.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from drft.config.trial_config import STRENGTHS
from drft.data.augment import Views
from drft.data.dataset import ImageDataset, LabeledImage
from drft.data.datasets.faults import DataErrors
from drft.data.images import decode
from drft.errors import DataError

_MARGIN = 8
"""Pixels between images."""

_CAPTION = 22
"""Pixels for the line of text above a row of images."""

Row = tuple[str, Sequence[Image.Image]]
"""The caption of a row of images, and the images."""


def contact_sheet(dataset: ImageDataset, per_grade: int = 6, side: int = 192, seed: int = 0) -> Image.Image:
    """Draw training images of each grade, and one of each grade at every augmentation strength.

    Args:
        dataset: the images.
        per_grade: images of each grade, spread evenly over the data set.
        side: height and width of each image in pixels.
        seed: seed of the views.

    Returns:
        RGB image with two rows for each grade that has images: its plain images, and one of them augmented.

    Raises:
        DataError: when there are no training images, or some cannot be decoded.
    """
    chosen = {grade: _choose(dataset, grade, per_grade) for grade in range(len(dataset.grades))}
    chosen = {grade: images for grade, images in chosen.items() if images}
    if not chosen:
        raise DataError(f"{dataset.name} has no training images to show")
    faults = DataErrors()
    paths = [image.path for image in chain.from_iterable(chosen.values())]
    pixels = iter(faults.collect(lambda path: decode(path, side), paths))
    faults.raise_all()
    decoded = {grade: [next(pixels) for _ in images] for grade, images in chosen.items()}
    rows: list[Row] = []
    for grade, images in decoded.items():
        caption = f"{dataset.grades[grade]}: {dataset.counts('train')[grade]} to train and validate on"
        rows.append((caption, [Image.fromarray(image) for image in images]))
    firsts = np.stack([images[0] for images in decoded.values()])
    views = Views(firsts, (0.0,) * 3, (1.0,) * 3, device=torch.device("cpu"), seed=seed)
    indices = np.arange(len(firsts))
    augmented = [views.augmented(indices, 1, strength).permute(0, 2, 3, 1).numpy() for strength in STRENGTHS]
    strengths = ", ".join(f"{strength:g}" for strength in STRENGTHS)
    for index, grade in enumerate(decoded):
        caption = f"{dataset.grades[grade]}, one view at strengths {strengths}"
        rows.append((caption, [Image.fromarray(images[index]) for images in augmented]))
    return _draw(rows, side)


def _choose(dataset: ImageDataset, grade: int, count: int) -> list[LabeledImage]:
    """Return training images of one grade, evenly spread over the data set."""
    images = [image for image in dataset.images if (image.origin, image.grade) == ("train", grade)]
    indices = np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)
    return [images[index] for index in indices]


def _draw(rows: Sequence[Row], side: int) -> Image.Image:
    """Draw rows of images below each other, each with its caption."""
    font = ImageFont.load_default(14)
    height = _CAPTION + side + _MARGIN
    most_images = max(len(images) for _, images in rows)
    longest_caption = max(font.getlength(caption) for caption, _ in rows)
    width = max(most_images * (side + _MARGIN), int(longest_caption) + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, len(rows) * height + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (caption, images) in enumerate(rows):
        top = number * height + _MARGIN
        draw.text((_MARGIN, top), caption, fill="black", font=font)
        for column, image in enumerate(images):
            sheet.paste(image, (_MARGIN + column * (side + _MARGIN), top + _CAPTION))
    return sheet
