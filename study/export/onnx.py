"""Export a model as ONNX, and check that the file predicts as the model does."""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from drft.errors import StudyError
from drft.extras import install_command
from drft.models.backbone import Model

INPUT = "pictures"
"""Name of the input in the file. It is part of the file format: programs that use exported models depend on it."""

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-3
"""Largest difference in a probability that counts as rounding."""


class _Ensemble(nn.Module):
    """Maps images in [0, 1] to the mean of the probabilities of several models; one model keeps its own."""

    def __init__(self, models: Sequence[Model]) -> None:
        super().__init__()
        self.members = nn.ModuleList(_ProbabilityModel(model) for model in models)

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([member(images) for member in self.members]).mean(dim=0)


class _ProbabilityModel(nn.Module):
    """Maps images in [0, 1] to probabilities, so that the file contains the normalization and the link of the loss."""

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
    """Check that ONNX files can be written.

    Raises:
        StudyError: naming the missing packages.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise StudyError(f"--onnx needs {', '.join(missing)}: {install_command('onnx')}")


def write_onnx(models: Sequence[Model], image_size: int, path: Path, classes: Sequence[str] = ()) -> float:
    """Write a model as ONNX: images in [0, 1], float32 of shape (n, 3, size, size), to probabilities (n, classes).

    Args:
        models: one model, or the members of an ensemble, whose probabilities are averaged.
        image_size: height and width of the images in pixels.
        path: the file.
        classes: names of the classes, which the file holds as metadata: ``classes``, a JSON list.

    Returns:
        The largest difference in a probability between file and model, on random images.

    Raises:
        StudyError: when PyTorch cannot export the network, or the two differ by more than rounding.
    """
    module = _Ensemble(models).cpu().eval()
    images = torch.rand(3, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    try:
        torch.onnx.export(
            module,
            (images[:2],),
            str(path),
            input_names=[INPUT],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise StudyError(f"--onnx: PyTorch cannot export this network ({reason}): export without --onnx") from None
    difference = _largest_difference(module, images, path)
    if not difference <= TOLERANCE:  # not >, so that NaN is refused, too
        raise StudyError(
            f"--onnx: the file differs from the model by {difference:.2g} in a probability: export without --onnx"
        )
    if classes:
        _write_classes(path, classes)
    return difference


def _write_classes(path: Path, classes: Sequence[str]) -> None:
    """Add the names of the classes to the metadata of an ONNX file."""
    import onnx  # noqa: PLC0415 (an optional package)

    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"classes": json.dumps(list(classes), ensure_ascii=False)})
    onnx.save(model, path)


@torch.no_grad()
def _largest_difference(module: _Ensemble, images: Tensor, path: Path) -> float:
    """Compare the probabilities of file and model; the file was traced with another number of images."""
    import onnxruntime  # noqa: PLC0415 (an optional package)

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(None, {INPUT: images.numpy()})
    return float(np.abs(probabilities - module(images).numpy()).max())
