"""Fixtures that make small images and folders in the layouts of IDRiD."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

Draw = Callable[..., Path]


@pytest.fixture(scope="session")
def draw_image() -> Draw:
    """Write an image of a disc on black; equal seeds give equal files."""

    def draw(path: Path, seed: int = 0, size: tuple[int, int] = (96, 64), radius: int = 36) -> Path:
        rng = np.random.default_rng(seed)
        image = Image.new("RGB", size)
        middle = (size[0] // 2, size[1] // 2)
        colour = tuple(int(value) for value in rng.integers((150, 60, 10), (220, 120, 60)))
        ImageDraw.Draw(image).circle(middle, radius, fill=colour)
        ImageDraw.Draw(image).circle((middle[0] + seed % 20, middle[1]), 4, fill=(255, 230, 150))
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        return path

    return draw


@pytest.fixture
def kaggle_copy(tmp_path: Path, draw_image: Draw) -> Callable[[Mapping[str, int | str]], Path]:
    """Make IDRiD in the Kaggle layout from id codes and grades."""

    def make(grades: Mapping[str, int | str]) -> Path:
        root = tmp_path / "kaggle"
        lines = ["id_code,diagnosis,Risk of macular edema ,,,"]
        for seed, (code, grade) in enumerate(grades.items()):
            draw_image(root / "Imagenes" / "Imagenes" / f"{code}.jpg", seed)
            lines.append(f"{code},{grade},0,,,")
        (root / "idrid_labels.csv").write_bytes("\r\n".join([*lines, ""]).encode())
        return root

    return make


@pytest.fixture
def official_copy(tmp_path: Path, draw_image: Draw) -> Callable[..., Path]:
    """Make IDRiD in its official layout from the grades of both parts, numbered from 1 in each."""

    def make(train: list[int | str], test: list[int | str], inside: str = ".") -> Path:
        root = tmp_path / "idrid"
        section = root / inside / "B. Disease Grading"
        (section / "2. Groundtruths").mkdir(parents=True)
        for letter, part, grades in (("a", "Training", train), ("b", "Testing", test)):
            lines = ["Image name,Retinopathy grade ,Risk of macular edema ,,,"]
            for number, grade in enumerate(grades, start=1):
                name = f"IDRiD_{number:03d}"
                image = section / "1. Original Images" / f"{letter}. {part} Set" / f"{name}.jpg"
                draw_image(image, number + 500 * (part == "Testing"))
                lines.append(f"{name},{grade},1,,,")
            table = section / "2. Groundtruths" / f"{letter}. IDRiD_Disease Grading_{part} Labels.csv"
            table.write_bytes(("\ufeff" + "\r\n".join([*lines, ",,,,,", ""])).encode())
        return root

    return make
