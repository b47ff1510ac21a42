"""Predictions of a trained model for images that belong to no data set."""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from drft.data.augment import Views
from drft.data.datasets.faults import DataErrors
from drft.data.images import decode
from drft.data.parallel import attempts
from drft.data.progress import Progress, silent
from drft.errors import DataError, WeightsError
from drft.models.backbone import Model
from drft.models.devices import pick_device

_BATCH = 32


@torch.no_grad()
def predict_images(
    model: Model | Sequence[Model],
    image_size: int,
    paths: Iterable[Path | str],
    *,
    device: torch.device | None = None,
    progress: Progress = silent,
    faults: list[str] | None = None,
) -> NDArray[np.float32]:
    """Return the class probabilities of images, in their order, shape (images, classes).

    Decoding, crop to the field of view, size and normalization are those of the training. The computation is in
    float32, whatever the precision of the training was.

    Args:
        model: as ``load_checkpoint`` returns it; or the members of an ensemble, whose probabilities are averaged.
        image_size: of the configuration that comes with it, in pixels.
        paths: the image files, at least one.
        device: where to compute; None for the first GPU that the process sees, else the CPU.
        progress: called with the number of decoded images.
        faults: gets a line for every file that cannot be decoded, whose row is NaN then; None to raise them.

    Raises:
        ValueError: when there are no paths.
        DataError: when ``paths`` is one path and no list. Naming every file that cannot be decoded, without ``faults``
            or when there is no other file.
        WeightsError: when a prediction is not finite.
    """
    if isinstance(paths, Path | str):
        raise DataError(f"images to predict should be a list of paths, not one path: write [{str(paths)!r}]")
    paths = [Path(path) for path in paths]
    device = device or pick_device()
    members = [model] if isinstance(model, Model) else list(model)
    for member in members:
        member.net.to(device).eval()
        member.probabilities.to(device)
    if not paths:
        raise ValueError("no images to predict")
    unreadable = DataErrors()
    predicted: dict[int, NDArray[np.float32]] = {}
    with attempts(partial(decode, image_size=image_size), paths, "decoding images", progress) as results:
        numbered = enumerate(results)
        while batch := list(islice(numbered, _BATCH)):
            unreadable.add(line for _, result in batch if isinstance(result, DataError) for line in result.faults)
            images = {row: result for row, result in batch if not isinstance(result, DataError)}
            # After a fault that is raised, the other files are still decoded, to name all faults, but not predicted.
            if images and (faults is not None or not unreadable.lines):
                pixels = np.stack(list(images.values()))
                probabilities = [_predict(member, pixels, device) for member in members]
                mean: NDArray[np.float32] = np.mean(probabilities, axis=0, dtype=np.float32)
                predicted.update(zip(images, mean, strict=True))
    if faults is None or not predicted:
        unreadable.raise_all()
    else:
        faults.extend(unreadable.lines)
    missing = np.full_like(next(iter(predicted.values())), np.nan)
    return np.stack([predicted.get(row, missing) for row in range(len(paths))])


def _predict(model: Model, pixels: NDArray[np.uint8], device: torch.device) -> NDArray[np.float32]:
    """Return the class probabilities of decoded images, (n, classes)."""
    views = Views(pixels, model.mean, model.std, device=device)
    inputs = views.normalize(views.plain(np.arange(len(views))))
    probabilities = np.asarray(model.log_probabilities(inputs).exp().float().cpu())
    if not np.isfinite(probabilities).all():
        raise WeightsError("the model predicts numbers that are NaN or infinite: use another checkpoint")
    return probabilities
