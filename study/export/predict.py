"""Predict images with one trained model."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drft.data.datasets.faults import DataErrors
from drft.data.datasets.files import SUFFIXES, check_names, files_below
from drft.errors import DataError, WeightsError
from drft.files.csv_cells import text_cell
from drft.models.checkpoint import read_checkpoint
from study.export.names import MEMBERS, MODEL
from study.report.disclaimer import FULL_DISCLAIMER
from study.results.files import write_whole

CAUTION = f"{FULL_DISCLAIMER} Classes of images from another camera or clinic than the training images may be random."
COLUMNS = ("id", "class")


class Prediction(NamedTuple):
    """The prediction for one image."""

    id: str
    """The file's name without suffix, or its path if several images have the same name."""
    class_: str
    """Name of the most probable class; its number if the model holds no names."""
    probabilities: tuple[float, ...]
    """Of each class."""


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Return the named files and the images in the named folders and their subfolders, as a data source has them.

    Raises:
        DataError: naming every missing path, every folder without an image, and names that no table can hold.
    """
    faults = DataErrors()
    found = faults.collect(_images_at, paths)
    faults.raise_all()
    return list(chain.from_iterable(found))


def _images_at(path: Path) -> list[Path]:
    check_names(path.parent, [str(path)])
    if not path.exists():
        raise DataError(f"{path} does not exist: name an image, or a folder of images")
    if not path.is_dir():
        return [path]  # reading refuses what is no file
    inside = [file for file in files_below(path) if file.suffix.lower() in SUFFIXES]
    if not inside:
        raise DataError(f"{path} holds no image ({', '.join(SUFFIXES)}): name an image, or a folder of images")
    return inside


def predict(checkpoint: Path, images: Sequence[Path]) -> tuple[list[Prediction], tuple[str, ...], list[str]]:
    """Predict images with the model of a checkpoint; an ensemble predicts the mean of its members' probabilities.

    Args:
        checkpoint: a ``.safetensors`` file, or the folder of an exported model.
        images: at least one.

    Returns:
        The predictions of the images that can be decoded, in their order; the names of the classes; and one line for
        each other image.

    Raises:
        WeightsError: when the checkpoint cannot be used, or a prediction is not finite.
        DataError: naming every image, when none can be decoded.
    """
    from study.export.trained_model import TrainedModel  # noqa: PLC0415 (torch takes seconds to import)

    members = sorted(checkpoint.glob(MEMBERS)) if checkpoint.is_dir() else []
    single = checkpoint / MODEL if checkpoint.is_dir() else checkpoint
    files = members or [single]
    if checkpoint.is_dir() and not files[0].is_file():
        raise WeightsError(
            f"{checkpoint} holds no exported model: name a folder that `drft-study export` wrote, or a .safetensors "
            "file"
        )
    model = TrainedModel.load(files, _class_names(checkpoint, files))
    counts = Counter(path.stem for path in images)
    ids = [str(path) if counts[path.stem] > 1 else path.stem for path in images]
    faults: list[str] = []
    predictions = [
        Prediction(name, model.classes[int(row.argmax())], tuple(map(float, row)))
        for name, row in zip(ids, model.predict(images, faults), strict=True)
        if not np.isnan(row).any()
    ]
    return predictions, tuple(model.classes), list(dict.fromkeys(faults))


def _class_names(checkpoint: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """Return the names of the classes of a model, or their numbers where it has no names.

    Raises:
        WeightsError: as for ``load_checkpoint``, or when the folder is not as it was exported: other networks would
            give other predictions.
    """
    kinds = set()
    for file in files:
        stored = read_checkpoint(file)
        names = stored.names or tuple(map(str, range(stored.classes)))
        kinds.add((names, stored.config.image_size, stored.members))
    if len(kinds) > 1:
        raise WeightsError(f"{checkpoint} holds networks of several models: export the model into a new folder")
    ((names, _, members),) = kinds
    if checkpoint.is_dir() and members not in {0, len(files)}:
        raise WeightsError(f"{checkpoint} holds {len(files)} of the {members} networks of its model: copy it again")
    return names


def headings(names: Sequence[str]) -> tuple[str, ...]:
    """Return the headings of a table of predictions: ``p`` and the class, with a blank before a name."""
    return (*COLUMNS, *(f"p{name}" if name.isdecimal() else f"p {name}" for name in names))


def write_predictions(path: Path, predictions: Sequence[Prediction], names: Sequence[str]) -> None:
    """Write predictions as CSV: id, class and the probability of each class. No cell is a formula of a spreadsheet.

    Raises:
        StudyError: when the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headings(names))
    writer.writerows(
        [text_cell(p.id), text_cell(p.class_), *(f"{value:.6f}" for value in p.probabilities)] for p in predictions
    )
    write_whole(path, text.getvalue(), "name another file with --csv")
