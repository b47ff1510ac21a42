"""The seal on the test images: test predictions are read here and nowhere else, once a confirmation is over.

Whatever a trial predicted for the test images lies sealed beside its other predictions. As long as its study can
still be searched, pruned or selected from, nothing reads it.
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
from drft.files.atomic import whole_file
from drft.training.records import Predictions
from study.results.confirmation_plan import PLANNED, ConfirmationPlan
from study.results.locate import CONFIRMATION, StudyLocation
from study.results.study_results import StudyResults, read_place
from study.storage.open import open_storage


@dataclass(frozen=True)
class Confirmation:
    """How far the confirmation of a study is."""

    plan: ConfirmationPlan
    results: StudyResults
    """Its trials, as those of any study."""
    trials: tuple[FrozenTrial, ...]

    @cached_property
    def done(self) -> dict[int, int]:
        """Numbers of the trials that came to their end, by place."""
        return {
            trial.user_attrs["place"]: trial.number
            for trial in reversed(self.trials)
            if trial.state == TrialState.COMPLETE
        }

    @cached_property
    def diverged(self) -> frozenset[int]:
        """Places whose training diverged, as it would again."""
        failed = (trial for trial in self.trials if trial.state == TrialState.FAIL)
        return frozenset(
            trial.user_attrs["place"] for trial in failed if trial.user_attrs.get("fail_kind") == "diverged"
        ) - {*self.done}

    @property
    def taken(self) -> frozenset[int]:
        """Places that need no new trial: settled, under way or in the queue."""
        unended = (trial for trial in self.trials if not trial.state.is_finished())
        return self.diverged | {*self.done} | {trial.user_attrs["place"] for trial in unended}

    @property
    def over(self) -> bool:
        """Whether every training came to its end or diverged."""
        return len(self.done) + len(self.diverged) == self.plan.size


def confirmation_place(study: StudyLocation) -> StudyLocation:
    """Return where the confirmation of a study is, or would be."""
    return StudyLocation(f"{study.name}{CONFIRMATION}", study.url, study.folder / "confirm")


def soups_on_test(study: StudyLocation) -> Path:
    """Return where the test predictions of a study's mixtures are, once they are opened."""
    return confirmation_place(study).folder / "soups.npz"


def read_confirmation(study: StudyResults) -> Confirmation | None:
    """Read the confirmation of a study; None when it was never begun.

    Raises:
        StudyError: when a study of its name is something else.
    """
    place = confirmation_place(study.place)
    storage = open_storage(place.url, create=False)
    if place.name not in optuna.get_all_study_names(storage):
        return None
    opened = optuna.load_study(study_name=place.name, storage=storage)
    if "trials_wanted" not in opened.user_attrs and not opened.get_trials(deepcopy=False):
        return None  # its driver died while it wrote the attributes; they are written anew
    results = read_place(place)
    if results.info.sampler != PLANNED:
        raise StudyError(f"study {place.name!r} is no confirmation of {study.info.name!r}: give it another name")
    trials = opened.get_trials(deepcopy=False)
    return Confirmation(ConfirmationPlan.read(results.info.space), results, tuple(trials))


def seal_mixtures(study: StudyResults, recipes: Sequence[Mapping[str, Any]], told: Predictions) -> None:
    """Keep what the mixtures of a study say of the test images.

    Args:
        study: that they are of.
        recipes: how each is made.
        told: with probabilities of shape (mixtures, images, grades).

    Raises:
        StudyError: when the file cannot be written.
    """
    packed, path = io.BytesIO(), soups_on_test(study.place)
    np.savez(
        packed,
        recipes=np.array(json.dumps(recipes)),
        sealed_test_ids=np.array(told.ids, dtype=np.str_),
        sealed_test_grades=told.grades,
        sealed_test_probabilities=told.probabilities,
    )
    try:
        with whole_file(path) as draft:
            draft.write_bytes(packed.getvalue())
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}; free some space, then run it again") from None


class OpenedTestSet:
    """The test predictions of a study whose confirmation is over; there is none of any other."""

    def __init__(self, study: StudyResults, confirmation: Confirmation | None) -> None:
        """Open the seal.

        Raises:
            StudyError: as long as the confirmation of the study is not over.
        """
        name = study.info.name
        if confirmation is None or not confirmation.over or confirmation.plan.study != name:
            raise StudyError(
                f"the test images of study {name!r} are sealed until its confirmation is over: "
                f"drft-study confirm {name}"
            )
        self._study = study
        self._confirmation = confirmation

    def retrained(self, place: int) -> Predictions | None:
        """Return the test predictions of a training of the confirmation at every step; None if its file is gone."""
        return _unsealed(self._confirmation.results.predictions_file(self._confirmation.done[place]))

    def mixtures(self) -> tuple[list[dict[str, Any]], Predictions] | None:
        """Return how each mixture of the study is made, and the test predictions of all; None if there are none."""
        path = soups_on_test(self._study.place)
        predictions = _unsealed(path)
        if predictions is None:
            return None
        with np.load(path, allow_pickle=False) as stored:
            return json.loads(str(stored["recipes"])), predictions

    def searched(self, number: int) -> Predictions | None:
        """Return the test predictions of a trial of the study at every step; None if its file is gone."""
        return _unsealed(self._study.predictions_file(number))


def _unsealed(path: Path) -> Predictions | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        ids = tuple(str(name) for name in stored["sealed_test_ids"])
        return Predictions(ids, stored["sealed_test_grades"], stored["sealed_test_probabilities"])


SUMMARY = "summary.json"
