"""The held-out test set of a study: test predictions are read here and nowhere else.

Each trial stores its predictions for the test images beside its other predictions. They are read only after the
confirmation of the study is finished; before that, they could influence the search, the pruning or the choice of a
trial.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from drft.errors import StudyError
from drft.training.records import Predictions
from study.results.confirmation_plan import PLANNED, ConfirmationPlan
from study.results.files import write_whole
from study.results.locate import CONFIRMATION, StudyLocation
from study.results.study_results import StudyResults, read_study_at
from study.storage.open import open_storage

SUMMARY = "summary.json"
"""The file with the figures of a confirmation, in its folder."""


@dataclass(frozen=True)
class Confirmation:
    """The state of a study's confirmation. Trainings are named by their index in the plan."""

    plan: ConfirmationPlan
    results: StudyResults
    """The retrainings, read like any study."""
    trials: tuple[FrozenTrial, ...]

    @cached_property
    def done(self) -> dict[int, int]:
        """Numbers of the completed trials by index; of several trials of one training, the first."""
        return {
            trial.user_attrs["place"]: trial.number
            for trial in reversed(self.trials)
            if trial.state == TrialState.COMPLETE
        }

    @cached_property
    def diverged(self) -> frozenset[int]:
        """Indices of the trainings that diverged: they are not repeated, since they would diverge again."""
        return frozenset(
            trial.user_attrs["place"]
            for trial in self.trials
            if trial.state == TrialState.FAIL and trial.user_attrs.get("fail_kind") == "diverged"
        ) - {*self.done}

    @property
    def taken(self) -> frozenset[int]:
        """Indices that need no new trial: completed, diverged, running or queued."""
        unfinished = {trial.user_attrs["place"] for trial in self.trials if not trial.state.is_finished()}
        return self.diverged | {*self.done} | unfinished

    @property
    def finished(self) -> bool:
        """Whether every training completed or diverged."""
        return len(self.done) + len(self.diverged) == self.plan.size


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
    location = confirmation_location(study.location)
    storage = open_storage(location.url, create=False)
    if location.name not in optuna.get_all_study_names(storage):
        return None
    opened = optuna.load_study(study_name=location.name, storage=storage)
    if "trials_wanted" not in opened.user_attrs and not opened.get_trials(deepcopy=False):
        return None  # its tuner was killed while it wrote the attributes; they are written again
    results = read_study_at(location)
    if results.info.sampler != PLANNED:
        raise StudyError(
            f"study {location.name!r} has the name of a confirmation of {study.info.name!r}, but is none: rename it"
        )
    trials = opened.get_trials(deepcopy=False)
    return Confirmation(ConfirmationPlan.read(results.info.space), results, tuple(trials))


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
        return _read_test_predictions(self._confirmation.results.predictions_file(self._confirmation.done[index]))

    def ensembles(self) -> tuple[list[dict[str, Any]], Predictions] | None:
        """Return the recipes of the study's ensembles and soups, and their test predictions; None if there are none."""
        path = ensemble_predictions_file(self._study.location)
        predictions = _read_test_predictions(path)
        if predictions is None:
            return None
        with np.load(path, allow_pickle=False) as stored:
            return json.loads(str(stored["recipes"])), predictions

    def searched(self, number: int) -> Predictions | None:
        """Return the test predictions of a trial of the search at every epoch; None if the file is missing."""
        return _read_test_predictions(self._study.predictions_file(number))


def _read_test_predictions(path: Path) -> Predictions | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        ids = tuple(str(name) for name in stored["sealed_test_ids"])
        return Predictions(ids, stored["sealed_test_grades"], stored["sealed_test_probabilities"])
