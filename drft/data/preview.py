"""Contact sheets: images of each grade, and what augmentation makes of them.

The images are shown as the networks see them, cropped to the field of view. Test images stay out of sight.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from drft.config.trial_config import STRENGTHS
from drft.data.augment import Views
from drft.data.dataset import ImageDataset, LabeledImage
from drft.data.datasets.faults import DataErrors
from drft.data.images import decode
from drft.errors import DataError

_MARGIN = 8
_CAPTION = 22
"""Pixels between images, and for a line of text above them."""

Row = tuple[str, Sequence[Image.Image]]
"""What stands above a row of images, and the images."""


def contact_sheet(dataset: ImageDataset, per_grade: int = 6, side: int = 192, seed: int = 0) -> Image.Image:
    """Draw training images of each grade, and one of each grade at every augmentation strength.

    Args:
        dataset: the images.
        per_grade: images of each grade, spread evenly over the table's order.
        side: height and width of each image in pixels.
        seed: seed of the views.

    Returns:
        RGB image of as many rows as there are grades with images, twice.

    Raises:
        DataError: when there are no training images, or some cannot be decoded.
    """
    chosen = {grade: _chosen(dataset, grade, per_grade) for grade in range(len(dataset.grades))}
    chosen = {grade: images for grade, images in chosen.items() if images}
    if not chosen:
        raise DataError(f"{dataset.name} has no training images to show")
    faults = DataErrors()
    paths = [image.path for image in chain.from_iterable(chosen.values())]
    decoding = iter(faults.collect(lambda path: decode(path, side), paths))
    faults.raise_all()
    decoded = {grade: np.stack([next(decoding) for _ in images]) for grade, images in chosen.items()}
    rows = [
        (
            f"grade {grade}, {dataset.grades[grade]}: {dataset.counts('train')[grade]} to train and validate on",
            _images(shown),
        )
        for grade, shown in decoded.items()
    ]
    firsts = np.stack([shown[0] for shown in decoded.values()])
    return _drawn([*rows, *_strengths(firsts, list(decoded), seed)], side)


def _chosen(dataset: ImageDataset, grade: int, most: int) -> list[LabeledImage]:
    """Return images of one grade, evenly spread; test images are not among them."""
    found = [image for image in dataset.images if (image.origin, image.grade) == ("train", grade)]
    places = np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)
    return [found[place] for place in places]


def _strengths(images: NDArray[np.uint8], grades: Sequence[int], seed: int) -> list[Row]:
    """Return a row for each image: the same view of it at every strength."""
    views = Views(images, (0.0,) * 3, (1.0,) * 3, device=torch.device("cpu"), seed=seed)
    indices = np.arange(len(images))
    made = [views.augmented(indices, 1, strength).permute(0, 2, 3, 1).numpy() for strength in STRENGTHS]
    said = ", ".join(f"{strength:g}" for strength in STRENGTHS)
    return [
        (f"grade {grade}, one view at strengths {said}", _images(np.stack([each[place] for each in made])))
        for place, grade in enumerate(grades)
    ]


def _images(images: NDArray[np.uint8]) -> list[Image.Image]:
    return [Image.fromarray(image) for image in images]


def _drawn(rows: Sequence[Row], side: int) -> Image.Image:
    """Draw rows of images below each other, each with its caption."""
    widest = max(len(images) for _, images in rows)
    height = _CAPTION + side + _MARGIN
    font = ImageFont.load_default(14)
    longest = max(font.getlength(caption) for caption, _ in rows)
    width = max(widest * (side + _MARGIN), int(longest) + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, len(rows) * height + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (caption, images) in enumerate(rows):
        top = number * height + _MARGIN
        draw.text((_MARGIN, top), caption, fill="black", font=font)
        for column, image in enumerate(images):
            sheet.paste(image, (_MARGIN + column * (side + _MARGIN), top + _CAPTION))
    return sheet
