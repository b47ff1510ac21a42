"""Read ``predictions.npz``, and name files of a study that are damaged: each costs what it held, and no more."""

import contextlib
import sys
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from drft.errors import StudyError
from drft.training.records import Predictions

_DAMAGED = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError, SyntaxError),
    *(MemoryError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error),
)
"""What NumPy, zipfile and json raise for content that was cut off, changed or written by another program."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise the errors of a file's content as one line; a missing file stays a FileNotFoundError.

    Raises:
        StudyError: when the content cannot be read.
    """
    try:
        yield
    except (FileNotFoundError, StudyError):
        raise
    except _DAMAGED as error:
        lines = str(error).strip().splitlines() or ["it is cut off" if isinstance(error, EOFError) else "empty"]
        raise StudyError(f"{path} is damaged or of another program ({type(error).__name__}: {lines[0]})") from None


def load_predictions(path: Path, part: str, epochs: int = 0) -> Predictions:
    """Return one part of a file of predictions.

    Args:
        path: the ``.npz`` file.
        part: the first word of its keys.
        epochs: how many epochs it must hold at least.

    Raises:
        FileNotFoundError: when there is no such file.
        StudyError: when it is damaged or foreign.
    """
    with reading(path):
        with np.load(path, allow_pickle=False) as stored:
            ids, grades, probabilities = (stored[f"{part}_{name}"] for name in ("ids", "grades", "probabilities"))
        images = len(ids)
        if probabilities.ndim != 3 or probabilities.shape[1] != images or len(probabilities) < epochs:
            shape = " x ".join(map(str, probabilities.shape))
            raise ValueError(f"probabilities of shape {shape} for {epochs} epochs and {images} images")
        if grades.shape != (images,) or not np.issubdtype(grades.dtype, np.integer):
            raise ValueError(f"grades of shape {grades.shape} and type {grades.dtype} for {images} images")
        if not np.issubdtype(probabilities.dtype, np.floating) or not np.isfinite(probabilities).all():
            raise ValueError("probabilities that are no finite numbers")
        if images and not 0 <= grades.min() <= grades.max() < probabilities.shape[2]:
            raise ValueError(f"grades outside 0 to {probabilities.shape[2] - 1}")
        return Predictions(tuple(map(str, ids)), grades, probabilities)


@cache
def name_damage(line: str) -> None:
    """Print a line that names damaged content and what it costs to stderr, once."""
    print(f"note: {line}", file=sys.stderr)
