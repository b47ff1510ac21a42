"""Contact sheets."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from drft.data.dataset import ImageDataset
from drft.data.preview import contact_sheet
from drft.errors import DataError

SIDE = 24


def tiles(sheet, rows, columns):
    """The images of a sheet, by row and column."""
    height, left = 22 + SIDE + 8, SIDE + 8
    pixels = np.asarray(sheet)
    return [
        [
            pixels[8 + row * height + 22 : 8 + row * height + 22 + SIDE, 8 + column * left : 8 + column * left + SIDE]
            for column in range(columns)
        ]
        for row in range(rows)
    ]


def test_the_rows_show_each_grade_plain_and_then_at_every_strength(tiny_dataset):
    sheet = contact_sheet(tiny_dataset, per_grade=4, side=SIDE)

    shown = tiles(sheet, 10, 5)
    white = [[bool((tile == 255).all()) for tile in row] for row in shown]
    assert white[:5] == [[False, False, False, False, True]] * 5
    assert white[5:] == [[False] * 5] * 5
    for grade in range(5):
        plain, *augmented = shown[5 + grade]
        assert (plain == shown[grade][0]).all()
        changes = [np.abs(tile.astype(int) - plain).mean() for tile in augmented]
        assert min(changes) > 0
        assert len({hashlib.sha256(tile.tobytes()).digest() for tile in augmented}) == 4


def test_test_images_are_not_shown(tiny_dataset):
    hidden = tuple(replace(image, origin="test") for image in tiny_dataset.images[1:])
    dataset = ImageDataset("hidden", (tiny_dataset.images[0], *hidden), "")

    sheet = contact_sheet(dataset, per_grade=3, side=SIDE)

    assert [[bool((tile == 255).all()) for tile in row] for row in tiles(sheet, 1, 3)] == [[False, True, True]]
    with pytest.raises(DataError, match="no training images"):
        contact_sheet(ImageDataset("hidden", hidden, ""))
