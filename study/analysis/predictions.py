"""Validation predictions of a study's completed trials, as what could have been selected."""

import numpy as np
from numpy.typing import NDArray

from drft.training.records import Predictions
from study.analysis.estimators.calibration import cross_entropy, normalized
from study.analysis.estimators.intervals import Withheld
from study.analysis.estimators.resampling import Candidates
from study.results.study_results import StudyResults


def stored_candidates(results: StudyResults) -> Candidates | Withheld:
    """Read the predicted grades of every step of every trial that can be the best, in the order of trial numbers.

    Withheld when the study's folder does not hold the predictions of all of them, as where only its storage was
    copied: what is missing might have been selected.
    """
    if results.eligible.empty:
        return Withheld(results.no_best)
    numbers = sorted(results.eligible["number"].astype(int))
    told = [found for number in numbers if (found := results.predictions(number)) is not None]
    if len(told) < len(numbers):
        return Withheld(f"the study's folder holds the predictions of {len(told)} of {len(numbers)} completed trials")
    steps = [found.probabilities.argmax(axis=2).astype(np.int8) for found in told]
    owners = np.repeat(numbers, [len(predicted) for predicted in steps])
    metric, grades = results.info.metric, told[0].grades
    losses = np.concatenate([_losses(found) for found in told]) if metric == "nll" else None
    return Candidates(owners, np.concatenate(steps), grades, metric, losses)


def at_best_steps(candidates: Candidates, results: StudyResults) -> Candidates:
    """Keep of each trial the step that was its best when it ran."""
    rows = results.eligible.sort_values("number")
    starts: NDArray[np.int64] = np.searchsorted(candidates.trials, rows["number"].to_numpy(dtype=np.int64))
    kept = starts + rows["best_step"].to_numpy(dtype=np.int64) - 1
    return candidates.at(kept)


def _losses(told: Predictions) -> NDArray[np.float32]:
    """Return the negative log likelihood of each image's true grade, shape (steps, images)."""
    steps = [cross_entropy(told.grades, normalized(probabilities)) for probabilities in told.probabilities]
    return np.array(steps, dtype=np.float32)
