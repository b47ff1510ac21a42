"""Predictions of a trained model for images that belong to no data set."""

from collections.abc import Sequence
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
from drft.errors import DataError
from drft.models.backbone import Model
from drft.models.devices import pick_device

_BATCH = 32


@torch.no_grad()
def predict_images(
    model: Model,
    image_size: int,
    paths: Sequence[Path],
    *,
    device: torch.device | None = None,
    progress: Progress = silent,
) -> NDArray[np.float32]:
    """Return the class probabilities of images, in their order, shape (images, classes).

    Decoding, crop to the field of view, size and normalization are those of the training. The computation is in
    float32, whatever the precision of the training was.

    Args:
        model: as ``load_checkpoint`` returns it.
        image_size: of the configuration that comes with it, in pixels.
        paths: the image files.
        device: where to compute; None for the first GPU that the process sees, else the CPU.
        progress: called with the number of decoded images.

    Raises:
        ValueError: when there are no paths.
        DataError: naming every file that cannot be decoded.
    """
    device = device or pick_device()
    model.net.to(device).eval()
    model.probabilities.to(device)
    faults = DataErrors()
    predictions: list[NDArray[np.float32]] = []
    with attempts(partial(decode, image_size=image_size), paths, "decoding images", progress) as results:
        while batch := list(islice(results, _BATCH)):
            faults.add(line for result in batch if isinstance(result, DataError) for line in result.faults)
            # After the first fault the other files are still decoded, to name all faults, but no longer predicted.
            if not faults.lines:
                images = [result for result in batch if not isinstance(result, DataError)]
                views = Views(np.stack(images), model.mean, model.std, device=device)
                inputs = views.normalize(views.plain(np.arange(len(views))))
                predictions.append(np.asarray(model.log_probabilities(inputs).exp().float().cpu()))
    faults.raise_all()
    return np.concatenate(predictions)
