"""The held-out test set of a study: test predictions are read here and nowhere else.

Each trial stores its predictions for the test images beside its other predictions. They are read only after the
confirmation of the study is finished; before that, they could influence the search, the pruning or the choice of a
trial. Of a study with the goal depth, ``confirm`` reads those of two finalists when all finalists are trained, and
keeps what they predict in a file: :class:`OpenedTestSet`.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.errors import StudyError
from drft.training.records import Predictions
from study.results.confirmation_plan import ConfirmationPlan
from study.results.files import write_whole
from study.results.finalists_plan import Finalists
from study.results.locate import CONFIRMATION, StudyLocation
from study.results.planned_study import PlannedStudy, read_planned_study
from study.results.predictions_file import reading
from study.results.study_results import StudyResults

SUMMARY = "summary.json"
"""The file with the figures of a confirmation, in its folder."""

_PART = "sealed_test"

RECOMMENDED, FLOOR_MODEL = "recommended", "linear model"
"""Names of tested models; the third one is ``study.results.finalists_plan.UNTUNED``."""

_OPENED_SCHEMA = 1

_DIGEST = "test_set_digest"
"""User attribute of a study: SHA-256 of the file of its opened test set, so that no other file can pass for it."""


Confirmation = PlannedStudy[ConfirmationPlan]
"""The state of a study's confirmation."""


def confirmation_location(study: StudyLocation) -> StudyLocation:
    """Return the location of a study's confirmation, whether or not it exists."""
    return StudyLocation(f"{study.name}{CONFIRMATION}", study.url, study.folder / "confirm")


def ensemble_predictions_file(study: StudyLocation) -> Path:
    """Return the file for the test predictions of a study's ensembles and soups, whether or not it exists."""
    return confirmation_location(study).folder / "soups.npz"


def read_confirmation(study: StudyResults) -> Confirmation | None:
    """Read the confirmation of a study; None if it has not begun.

    Raises:
        StudyError: when a study with the name of the confirmation is not a confirmation.
    """
    return read_planned_study(confirmation_location(study.location), ConfirmationPlan)


def write_ensemble_predictions(
    study: StudyResults, recipes: Sequence[Mapping[str, Any]], predictions: Predictions
) -> None:
    """Write the test predictions of a study's ensembles and soups.

    Args:
        study: the study.
        recipes: how each ensemble or soup is made.
        predictions: with probabilities of shape (recipes, images, grades).

    Raises:
        StudyError: when the file cannot be written.
    """
    content = io.BytesIO()
    np.savez(
        content,
        recipes=np.array(json.dumps(recipes)),
        sealed_test_ids=np.array(predictions.ids, dtype=np.str_),
        sealed_test_grades=predictions.grades,
        sealed_test_probabilities=predictions.probabilities,
    )
    write_whole(
        ensemble_predictions_file(study.location), content.getvalue(), "free disk space and run the command again"
    )


class ModelPredictions(NamedTuple):
    """What one model predicts for the test images."""

    name: str
    """``recommended``, ``untuned`` or ``linear model``."""
    depth: int | None
    """None for the linear model."""
    trials: tuple[int, ...]
    """Numbers of the finalists' trials whose mean probabilities it predicts; none for the linear model."""
    predicted: NDArray[np.int64]
    """Class of each image, shape (images,)."""


class PromisedAccuracy(NamedTuple):
    """What the verdict promised when the test set was opened."""

    value: float
    low: float
    high: float
    n: int
    """Training images that it rests on."""


class OpenedTestSet(NamedTuple):
    """The test set of a study with the goal depth, after it was opened: all that its figures follow from.

    It is written once, so that whatever happens to the study later, the figures stay those of that moment.
    """

    opened: str
    """Date and time, in ISO 8601."""
    promise: PromisedAccuracy
    ids: tuple[str, ...]
    grades: NDArray[np.int64]
    """True class of each image, shape (images,)."""
    models: tuple[ModelPredictions, ...]
    """The recommended one first."""
    missing: Mapping[str, str]
    """Why a model has no predictions, by its name."""


def opened_test_set_file(study: StudyLocation) -> Path:
    """Return the file of a study's opened test set, whether or not it exists."""
    return confirmation_location(study).folder / "opened.json"


def write_opened_test_set(study: StudyResults, opened: OpenedTestSet) -> None:
    """Write the opened test set of a study; the file appears whole or not at all.

    Raises:
        StudyError: when it cannot be written.
    """
    values = {
        "schema": _OPENED_SCHEMA,
        "study": study.info.name,
        **opened._asdict(),
        "promise": opened.promise._asdict(),
        "grades": opened.grades.tolist(),
        "models": [model._asdict() | {"predicted": model.predicted.tolist()} for model in opened.models],
    }
    text = json.dumps(values, allow_nan=False, ensure_ascii=False) + "\n"
    study.location.open().set_user_attr(_DIGEST, hashlib.sha256(text.encode()).hexdigest())
    write_whole(opened_test_set_file(study.location), text, "free disk space and run the command again")


def read_opened_test_set(study: StudyResults) -> OpenedTestSet | None:
    """Read the opened test set of a study; None as long as it is held out.

    Raises:
        StudyError: when the file is damaged, of another version, or was not written by the confirmation of the study.
    """
    path = opened_test_set_file(study.location)
    try:
        text = path.read_bytes()
        values = json.loads(text)
        schema = values["schema"]
        opened = OpenedTestSet(
            str(values["opened"]),
            PromisedAccuracy(**values["promise"]),
            tuple(map(str, values["ids"])),
            np.array(values["grades"], dtype=np.int64),
            tuple(
                ModelPredictions(
                    model["name"], model["depth"], tuple(model["trials"]), np.array(model["predicted"], dtype=np.int64)
                )
                for model in values["models"]
            ),
            dict(values["missing"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise StudyError(f"{path} cannot be read: restore it from a copy") from None
    sizes = {len(opened.ids), len(opened.grades), *(len(model.predicted) for model in opened.models)}
    names = [model.name for model in opened.models]
    if schema != _OPENED_SCHEMA or len(sizes) > 1 or not opened.ids or names[:1] != [RECOMMENDED]:
        raise StudyError(f"{path} is damaged or of another version: restore it from a copy")
    if study.location.open().user_attrs.get(_DIGEST) != hashlib.sha256(text).hexdigest():
        raise StudyError(
            f"{path} is not what the confirmation of study {study.info.name!r} wrote, if it ever ran: restore it from "
            f"a copy, or delete it and run `drft-study confirm {study.info.name}`"
        )
    return opened


def predict_by_ensemble(finalists: Finalists, numbers: Sequence[int]) -> tuple[Predictions, NDArray[np.int64]]:
    """Return what an ensemble of fold models predicts for the test images: the mean of their class probabilities.

    Each fold model has the weights of its best epoch, as its checkpoint has. Only ``confirm`` calls this, after the
    last training of the finalists.

    Args:
        finalists: of a study.
        numbers: trials of the finalists, at least one.

    Returns:
        Test predictions of the first trial, for names and true classes, and the predicted classes, shape (images,).

    Raises:
        StudyError: when predictions are missing.
    """
    results = finalists.results
    steps = results.complete.set_index("number")["best_step"]
    stored = {number: results.read_part(results.predictions_file(number), _PART, number) for number in numbers}
    missing = [str(number) for number, predictions in stored.items() if predictions is None]
    if missing:
        folder = results.info.folder / "trials"
        raise StudyError(f"the predictions of trials {', '.join(missing)} are missing in {folder}: restore the folder")
    together = [
        predictions.probabilities[int(steps[number]) - 1].astype(np.float64)
        for number, predictions in stored.items()
        if predictions is not None
    ]
    first = stored[numbers[0]]
    assert first is not None
    return first, np.mean(together, axis=0).argmax(axis=1)


class HeldOutTestSet:
    """The test predictions of a study whose confirmation is finished; other studies cannot make this object."""

    def __init__(self, study: StudyResults, confirmation: Confirmation | None) -> None:
        """Check that the test predictions may be read.

        Raises:
            StudyError: when the confirmation of the study is not finished.
        """
        name = study.info.name
        if confirmation is None or not confirmation.finished or confirmation.plan.study != name:
            raise StudyError(
                f"the test predictions of study {name!r} are not read before its confirmation is finished: "
                f"run `drft-study confirm {name}`"
            )
        self._study = study
        self._confirmation = confirmation

    def retrained(self, index: int) -> Predictions | None:
        """Return the test predictions of a retraining at every epoch; None if the file is missing."""
        results, number = self._confirmation.results, self._confirmation.done[index]
        return results.read_part(results.predictions_file(number), _PART, number)

    def ensembles(self) -> tuple[list[dict[str, Any]], Predictions] | None:
        """Return the recipes of the study's ensembles and soups, and their test predictions; None if there are none."""
        path = ensemble_predictions_file(self._study.location)
        predictions = self._study.read_part(path, _PART)
        if predictions is None:
            return None
        try:
            with reading(path), np.load(path, allow_pickle=False) as stored:
                return json.loads(str(stored["recipes"])), predictions
        except StudyError as error:
            self._study.name_damage(f"{error}: delete it, and `drft-study confirm {self._study.info.name}` makes it")
            return None

    def searched(self, number: int) -> Predictions | None:
        """Return the test predictions of a trial of the search at every epoch; None if the file is missing."""
        return self._study.read_part(self._study.predictions_file(number), _PART, number)
