"""A trained model as an ONNX file, compared with the original before anybody relies on it."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from drft.errors import StudyError
from drft.models.backbone import Model

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-3
"""Largest difference in a probability between the two that counts as rounding."""


class _ProbabilityModel(nn.Module):
    """From images in [0, 1] to probabilities: normalization and link are part of the file."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.net = model.net
        self.link = model.probabilities
        self.register_buffer("mean", torch.tensor(model.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(model.std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        probabilities: Tensor = self.link(self.net((images - self.mean) / self.std)).exp()
        return probabilities


def check_packages() -> None:
    """Tell whether ONNX files can be written.

    Raises:
        StudyError: naming what is missing.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise StudyError(f"--onnx needs {', '.join(missing)}: pip install 'drft-study[onnx]'")


def write_onnx(model: Model, image_size: int, path: Path) -> float:
    """Write a model as ONNX: images in [0, 1], float32 of shape (n, 3, size, size), to probabilities (n, classes).

    Returns:
        The largest difference in a probability from the original, on random images.

    Raises:
        StudyError: when it differs by more than rounding.
    """
    grader = _ProbabilityModel(model).cpu().eval()
    images = torch.rand(3, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    torch.onnx.export(
        grader,
        (images[:2],),
        str(path),
        input_names=["pictures"],
        output_names=["probabilities"],
        dynamic_shapes=({0: torch.export.Dim("n")},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    difference = _difference(grader, images, path)
    if not difference <= TOLERANCE:
        raise StudyError(f"--onnx: the file differs from the model by {difference:.2g} in a probability: leave it out")
    return difference


@torch.no_grad()
def _difference(grader: _ProbabilityModel, images: Tensor, path: Path) -> float:
    """Compare on another number of images than the file was made with."""
    import onnxruntime  # noqa: PLC0415 (an optional package)

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"pictures": images.numpy()})
    return float(np.abs(found - grader(images).numpy()).max())
