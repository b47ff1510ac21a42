"""``floor.json``: the floor of a study, its out-of-fold predictions image by image.

It holds ``schema`` (1), ``inputs`` (all that the floor depends on) and either ``reason`` (why there is no floor) or
``model``, ``accuracy``, ``interval`` (its 95 % interval), ``seconds``, ``penalties`` (by fold) and, with one entry per
training image, ``ids``, ``grades``, ``fold`` and ``scores`` (images by classes).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.training.records import FloorPredictions
from study.results.files import write_whole

FLOOR = "floor.json"
SCHEMA = 1
_DECIMALS = 6


class NoFloor(NamedTuple):
    """A study without a floor, and why; the reason follows a colon."""

    reason: str


@dataclass(frozen=True, slots=True)
class Floor:
    """The floor of a study: a linear model on the features of its frozen backbone."""

    inputs: Mapping[str, Any]
    """All that the floor depends on: data set, ``backbone`` with its ``name``, ``image_size``, precision and seeds."""
    predictions: FloorPredictions = field(repr=False)
    interval: tuple[float, float]
    """95 % interval of the accuracy (Wilson)."""
    model: str
    seconds: float
    """Time to compute features and predictions; less where the features were cached."""

    def __str__(self) -> str:
        """Return the accuracy with its interval, as all texts show it."""
        low, high = (100 * end for end in self.interval)
        return (
            f"linear model on frozen features, {self.accuracy:.1%} out of fold "
            f"(n = {len(self.predictions.ids)}, 95% interval {low:.1f} to {high:.1f})"
        )

    @property
    def backbone(self) -> str:
        """Timm's name of the backbone."""
        return str(self.inputs["backbone"]["name"])

    @property
    def folds(self) -> int:
        """Number of folds."""
        return len(self.predictions.penalties)

    @property
    def accuracy(self) -> float:
        """Share of the training images that were predicted correctly out of fold."""
        return float(self.correct.mean())

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each training image was predicted correctly out of fold, shape (images,)."""
        return np.equal(self.predictions.predicted, self.predictions.grades)


def write_floor(folder: Path, floor: Floor | NoFloor, inputs: Mapping[str, Any]) -> None:
    """Write ``floor.json`` into the folder of a study; it appears whole or not at all.

    Raises:
        StudyError: when the file cannot be written.
    """
    values: dict[str, Any] = {"schema": SCHEMA, "inputs": inputs}
    if isinstance(floor, NoFloor):
        values["reason"] = floor.reason
    else:
        predictions = floor.predictions
        values |= {
            "model": floor.model,
            "accuracy": floor.accuracy,
            "interval": list(floor.interval),
            "seconds": round(floor.seconds, 2),
            "penalties": list(predictions.penalties),
            "ids": list(predictions.ids),
            "grades": predictions.grades.tolist(),
            "fold": predictions.fold.tolist(),
            "scores": predictions.scores.round(_DECIMALS).tolist(),
        }
    write_whole(folder / FLOOR, json.dumps(values, allow_nan=False, ensure_ascii=False) + "\n")


def read_floor(folder: Path) -> Floor | NoFloor:
    """Read the floor from the folder of a study; a missing or damaged file is a reason, not an error."""
    path = folder / FLOOR
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["schema"] != SCHEMA:
            return NoFloor(f"this version does not read {FLOOR} of schema {values['schema']}")
        if "reason" in values:
            return NoFloor(str(values["reason"]))
        predictions = FloorPredictions(
            ids=tuple(map(str, values["ids"])),
            grades=np.array(values["grades"], dtype=np.int64),
            fold=np.array(values["fold"], dtype=np.int64),
            scores=np.array(values["scores"], dtype=np.float64),
            penalties=tuple(map(float, values["penalties"])),
        )
        low, high = map(float, values["interval"])
        inputs = values["inputs"]
        _ = int(inputs["image_size"]), inputs["backbone"]["name"]  # both are shown, so they must exist
        floor = Floor(inputs, predictions, (low, high), str(values["model"]), float(values["seconds"]))
    except FileNotFoundError:
        return NoFloor("it was not computed; the command that created the study adds it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return NoFloor(f"{FLOOR} cannot be read; delete it, and the command that created the study writes it again")
    sizes = {len(predictions.ids), len(predictions.grades), len(predictions.fold), len(predictions.scores)}
    classes = predictions.scores.shape[1] if predictions.scores.ndim == 2 else 0
    if len(sizes) > 1 or not set(predictions.grades) <= set(range(classes)) or not predictions.ids:
        return NoFloor(f"the columns of {FLOOR} do not fit together")
    return floor
