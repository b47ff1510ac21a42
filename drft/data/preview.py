"""Contact sheets: photographs of each grade, and what augmentation makes of them.

The photographs are shown as the networks see them, cropped to the field of view. Test photographs stay out of sight.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from drft.config.trial_config import STRENGTHS
from drft.data.augment import Views
from drft.data.cohort import ImageDataset, LabeledImage
from drft.data.datasets.faults import DataErrors
from drft.data.images import decode
from drft.errors import DataError

_MARGIN = 8
_CAPTION = 22
"""Pixels between pictures, and for a line of text above them."""

Row = tuple[str, Sequence[Image.Image]]
"""What stands above a row of pictures, and the pictures."""


def contact_sheet(cohort: ImageDataset, per_grade: int = 6, side: int = 192, seed: int = 0) -> Image.Image:
    """Draw training photographs of each grade, and one of each grade at every augmentation strength.

    Args:
        cohort: the photographs.
        per_grade: photographs of each grade, spread evenly over the table's order.
        side: height and width of each picture in pixels.
        seed: seed of the views.

    Returns:
        RGB picture of as many rows as there are grades with photographs, twice.

    Raises:
        DataError: when there are no training photographs, or some cannot be decoded.
    """
    chosen = {grade: _chosen(cohort, grade, per_grade) for grade in range(len(cohort.grades))}
    chosen = {grade: photographs for grade, photographs in chosen.items() if photographs}
    if not chosen:
        raise DataError(f"{cohort.name} has no training photographs to show")
    faults = DataErrors()
    paths = [photograph.path for photograph in chain.from_iterable(chosen.values())]
    pictures = iter(faults.collect(lambda path: decode(path, side), paths))
    faults.raise_all()
    decoded = {grade: np.stack([next(pictures) for _ in photographs]) for grade, photographs in chosen.items()}
    rows = [
        (
            f"grade {grade}, {cohort.grades[grade]}: {cohort.counts('train')[grade]} to train and validate on",
            _images(shown),
        )
        for grade, shown in decoded.items()
    ]
    firsts = np.stack([shown[0] for shown in decoded.values()])
    return _drawn([*rows, *_strengths(firsts, list(decoded), seed)], side)


def _chosen(cohort: ImageDataset, grade: int, most: int) -> list[LabeledImage]:
    """Return photographs of one grade, evenly spread; test photographs are not among them."""
    found = [
        photograph for photograph in cohort.photographs if (photograph.origin, photograph.grade) == ("train", grade)
    ]
    places = np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)
    return [found[place] for place in places]


def _strengths(pictures: NDArray[np.uint8], grades: Sequence[int], seed: int) -> list[Row]:
    """Return a row for each picture: the same view of it at every strength."""
    views = Views(pictures, (0.0,) * 3, (1.0,) * 3, device=torch.device("cpu"), seed=seed)
    indices = np.arange(len(pictures))
    made = [views.augmented(indices, 1, strength).permute(0, 2, 3, 1).numpy() for strength in STRENGTHS]
    said = ", ".join(f"{strength:g}" for strength in STRENGTHS)
    return [
        (f"grade {grade}, one view at strengths {said}", _images(np.stack([each[place] for each in made])))
        for place, grade in enumerate(grades)
    ]


def _images(pictures: NDArray[np.uint8]) -> list[Image.Image]:
    return [Image.fromarray(picture) for picture in pictures]


def _drawn(rows: Sequence[Row], side: int) -> Image.Image:
    """Draw rows of pictures below each other, each with its caption."""
    widest = max(len(pictures) for _, pictures in rows)
    height = _CAPTION + side + _MARGIN
    font = ImageFont.load_default(14)
    longest = max(font.getlength(caption) for caption, _ in rows)
    width = max(widest * (side + _MARGIN), int(longest) + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, len(rows) * height + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (caption, pictures) in enumerate(rows):
        top = number * height + _MARGIN
        draw.text((_MARGIN, top), caption, fill="black", font=font)
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (_MARGIN + column * (side + _MARGIN), top + _CAPTION))
    return sheet
