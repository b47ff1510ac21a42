"""What the retrainings of a confirmation predicted, as plain arrays for statistics."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.errors import StudyError
from drft.training.records import Predictions
from study.results.study_results import StudyResults
from study.results.test_set import Confirmation, OpenedTestSet, read_confirmation


class RetrainedConfig(NamedTuple):
    """One configuration and what its retrainings said, each at its own best validation epoch."""

    name: str
    """``baseline``, or the trial it comes from."""
    trial: int | None
    """Number of that trial in the sweep; None for the baseline."""
    depth: int
    draws: tuple[int, ...]
    """The draws whose training came to its end, ascending."""
    diverged: int
    """Trainings that diverged, and are in no figure."""
    validation: NDArray[np.float64]
    """Validation accuracy, shape (draws,)."""
    predicted: NDArray[np.int64]
    """Predicted grade of each test image, shape (draws, images)."""
    sweep_accuracy: float | None
    """Validation accuracy of the trial in the sweep."""


class TestSet(NamedTuple):
    """The retrained configurations, the baseline first, and the true grades of the test images."""

    configurations: tuple[RetrainedConfig, ...]
    grades: NDArray[np.int64]
    """Shape (images,)."""


def read_test_set(study: StudyResults, confirmation: Confirmation | None = None) -> TestSet | None:
    """Open the test set of a study; None as long as it is sealed.

    Raises:
        StudyError: when predictions of the confirmation are gone.
    """
    confirmation = confirmation or read_confirmation(study)
    if confirmation is None or not confirmation.over:
        return None
    opened = OpenedTestSet(study, confirmation)
    told = {place: opened.retrained(place) for place in sorted(confirmation.done)}
    found = {place: predictions for place, predictions in told.items() if predictions is not None}
    if not found or len(found) < len(told):
        where = confirmation.results.info.folder / "trials"
        raise StudyError(
            f"{len(told) - len(found)} of {len(told)} test predictions are missing in {where}: bring the folder back"
            if told
            else "every training of the confirmation diverged"
        )
    indices = range(len(confirmation.plan.candidates))
    configurations = (_retrained(confirmation, index, found) for index in indices)
    return TestSet(tuple(one for one in configurations if one.draws), next(iter(found.values())).grades)


def _retrained(confirmation: Confirmation, index: int, found: dict[int, Predictions]) -> RetrainedConfig:
    plan, candidate = confirmation.plan, confirmation.plan.candidates[index]
    rows = {row["number"]: row for row in confirmation.results.complete.to_dict("records")}
    places = [place for place in found if plan.at(place)[1] == index]
    best = [rows[confirmation.done[place]] for place in places]
    predicted = [
        found[place].probabilities[int(row["best_step"]) - 1].argmax(axis=1)
        for place, row in zip(places, best, strict=True)
    ]
    return RetrainedConfig(
        name=candidate.name,
        trial=candidate.trial,
        depth=candidate.config.depth,
        draws=tuple(plan.at(place)[0] for place in places),
        diverged=sum(plan.at(place)[1] == index for place in confirmation.diverged),
        validation=np.array([row["val_accuracy_best"] for row in best], dtype=np.float64),
        predicted=np.array(predicted, dtype=np.int64),
        sweep_accuracy=candidate.sweep_accuracy,
    )
