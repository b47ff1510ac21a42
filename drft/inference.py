"""A trained model at work: images that are no part of a data set, graded as those it was validated on."""

from collections.abc import Iterator, Sequence
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
        paths: the files.
        device: where to compute; None for the first GPU the process sees, else the CPU.
        progress: told how many images are decoded.

    Raises:
        ValueError: when there are no paths.
        DataError: naming every file that cannot be decoded.
    """
    device = device or pick_device()
    model.net.to(device).eval()
    model.link.to(device)
    faults = DataErrors()
    graded: list[NDArray[np.float32]] = []
    with attempts(partial(decode, image_size=image_size), paths, "decoding images", progress) as results:
        for some in _batched(results):
            faults.add(line for result in some if isinstance(result, DataError) for line in result.faults)
            images = [result for result in some if not isinstance(result, DataError)]
            if images and not faults.lines:
                graded.append(_grade(model, Views(np.stack(images), model.mean, model.std, device=device)))
    faults.raise_all()
    return np.concatenate(graded)


def _batched(results: Iterator[NDArray[np.uint8] | DataError]) -> Iterator[list[NDArray[np.uint8] | DataError]]:
    while some := list(islice(results, _BATCH)):
        yield some


@torch.no_grad()
def _grade(model: Model, views: Views) -> NDArray[np.float32]:
    images = views.normalize(views.plain(np.arange(len(views))))
    return np.asarray(model.log_probabilities(images).exp().float().cpu())
