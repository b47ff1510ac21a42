"""Test predictions of the retrained configurations of a confirmation, as arrays for statistics."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.errors import StudyError
from drft.training.records import Predictions
from study.results.study_results import StudyResults
from study.results.test_set import Confirmation, HeldOutTestSet, read_confirmation


class RetrainedConfig(NamedTuple):
    """One configuration and the predictions of its retrainings, each at its own best validation epoch."""

    name: str
    """``baseline``, or the trial it was taken from."""
    trial: int | None
    """Number of that trial in the search; None for the baseline."""
    depth: int
    draws: tuple[int, ...]
    """The positions of the seeds and splits whose training completed, ascending."""
    diverged: int
    """Number of trainings that diverged; they are in no figure."""
    validation: NDArray[np.float64]
    """Validation accuracy, shape (draws,)."""
    predicted: NDArray[np.int64]
    """Predicted grade of each test image, shape (draws, images)."""
    sweep_accuracy: float | None
    """Validation accuracy of the trial in the search."""


class TestSet(NamedTuple):
    """The retrained configurations, the baseline first, and the true grades of the test images."""

    configurations: tuple[RetrainedConfig, ...]
    grades: NDArray[np.int64]
    """Shape (images,)."""


def read_test_set(study: StudyResults, confirmation: Confirmation | None = None) -> TestSet | None:
    """Read the test predictions of a study's confirmation; None until the confirmation is finished.

    Args:
        study: the study.
        confirmation: of the study; None to read it.

    Raises:
        StudyError: when predictions are missing, or every training diverged.
    """
    confirmation = confirmation or read_confirmation(study)
    if confirmation is None or not confirmation.finished:
        return None
    if not confirmation.done:
        raise StudyError("every training of the confirmation diverged")
    test_set = HeldOutTestSet(study, confirmation)
    stored = {index: test_set.retrained(index) for index in sorted(confirmation.done)}
    predictions = {index: stored_one for index, stored_one in stored.items() if stored_one is not None}
    if len(predictions) < len(stored):
        folder = confirmation.results.info.folder / "trials"
        raise StudyError(
            f"{len(stored) - len(predictions)} of {len(stored)} test predictions are missing in {folder}: "
            "restore the folder"
        )
    configurations = (
        _retrained(confirmation, position, predictions) for position in range(len(confirmation.plan.candidates))
    )
    return TestSet(
        tuple(configuration for configuration in configurations if configuration.draws),
        next(iter(predictions.values())).grades,
    )


def _retrained(confirmation: Confirmation, position: int, predictions: dict[int, Predictions]) -> RetrainedConfig:
    """Return the retrainings of the candidate at a position of the plan; predictions are by index of training."""
    plan, candidate = confirmation.plan, confirmation.plan.candidates[position]
    trials = {row["number"]: row for row in confirmation.results.complete.to_dict("records")}
    indices = [index for index in predictions if plan.locate(index)[1] == position]
    rows = [trials[confirmation.done[index]] for index in indices]
    predicted = [
        predictions[index].probabilities[int(row["best_step"]) - 1].argmax(axis=1)
        for index, row in zip(indices, rows, strict=True)
    ]
    return RetrainedConfig(
        name=candidate.name,
        trial=candidate.trial,
        depth=candidate.config.depth,
        draws=tuple(plan.locate(index)[0] for index in indices),
        diverged=sum(plan.locate(index)[1] == position for index in confirmation.diverged),
        validation=np.array([row["val_accuracy_best"] for row in rows], dtype=np.float64),
        predicted=np.array(predicted, dtype=np.int64),
        sweep_accuracy=candidate.sweep_accuracy,
    )
