"""Images graded by one trained model, for whoever wants to look at what it does."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from drft.data.datasets.files import SUFFIXES
from drft.errors import DataError, StudyError
from drft.files.atomic import whole_file
from drft.models.checkpoint import load_checkpoint
from study.export.names import MODEL

CAUTION = (
    "For research and education only: this is no medical device, and no grade here is for diagnosis, treatment or "
    "screening. Images of another camera or clinic than those it was trained on may be graded at random."
)
COLUMNS = ("id", "grade")


class Prediction(NamedTuple):
    """What a model says of one image."""

    id: str
    """The file's name, or its path where others have the same."""
    grade: int
    """The most probable one."""
    probabilities: tuple[float, ...]
    """Of each grade."""


def find_images(images: Iterable[Path]) -> list[Path]:
    """Return the files that are named, and those in the folders that are named, each folder in the order of names.

    Raises:
        DataError: naming everything that is not there, and folders without an image.
    """
    found: list[Path] = []
    faults: list[str] = []
    for path in images:
        inside = sorted(_images_in(path)) if path.is_dir() else [path] if path.is_file() else []
        found += inside
        if not inside:
            there = f"holds no image ({', '.join(SUFFIXES)})" if path.is_dir() else "is not there"
            faults.append(f"{path} {there}: name an image, or a folder of them")
    if faults:
        raise DataError(faults)
    return found


def predict(checkpoint: Path, images: Sequence[Path]) -> list[Prediction]:
    """Grade images with the model of a checkpoint.

    Args:
        checkpoint: a ``.safetensors`` file, or the folder of an exported model.
        images: at least one.

    Raises:
        WeightsError: when the checkpoint cannot be used.
        DataError: naming every image that cannot be decoded.
    """
    from drft.inference import predict_images  # noqa: PLC0415 (torch waits until there is something to grade)

    model, config = load_checkpoint(checkpoint / MODEL if checkpoint.is_dir() else checkpoint)
    named = Counter(path.stem for path in images)
    ids = [str(path) if named[path.stem] > 1 else path.stem for path in images]
    graded = predict_images(model, config.image_size, images)
    return [Prediction(name, int(row.argmax()), tuple(map(float, row))) for name, row in zip(ids, graded, strict=True)]


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write predictions as CSV: id, grade and the probability of each grade; whole or not at all.

    Raises:
        StudyError: when the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"p{grade}" for grade in range(len(predictions[0].probabilities)))])
    writer.writerows([p.id, p.grade, *(f"{value:.6f}" for value in p.probabilities)] for p in predictions)
    try:
        with whole_file(path) as draft:
            draft.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}; name another file with --csv") from None


def _images_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in SUFFIXES)
