"""The held-out test set of a study: test predictions are read here and nowhere else.

Each trial stores its predictions for the test images beside its other predictions. They are read only after the
confirmation of the study is finished; before that, they could influence the search, the pruning or the choice of a
trial.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drft.errors import StudyError
from drft.training.records import Predictions
from study.results.confirmation_plan import ConfirmationPlan
from study.results.files import write_whole
from study.results.locate import CONFIRMATION, StudyLocation
from study.results.planned_study import PlannedStudy, read_planned_study
from study.results.predictions_file import reading
from study.results.study_results import StudyResults

SUMMARY = "summary.json"
"""The file with the figures of a confirmation, in its folder."""

_PART = "sealed_test"

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
