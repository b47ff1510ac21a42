"""Validation predictions of a study's completed trials, as candidates for the selection."""

import numpy as np
from numpy.typing import NDArray

from study.analysis.estimators.calibration import cross_entropy, normalized
from study.analysis.estimators.intervals import Withheld
from study.analysis.estimators.resampling import Candidates
from study.results.study_results import StudyResults


def stored_candidates(results: StudyResults) -> Candidates | Withheld:
    """Read the predicted grades of every epoch of every trial that can be the best, in the order of trial numbers.

    Withheld when the study's folder does not hold the predictions of all of them (where only the storage was copied):
    the missing trials might have been selected. Withheld, too, when trials validate on different images.
    """
    if results.eligible.empty:
        return Withheld(results.no_best)
    if results.splits_change:
        return Withheld(results.splits_change)
    numbers = sorted(results.eligible["number"].astype(int))
    stored = [trial for number in numbers if (trial := results.predictions(number)) is not None]
    if len(stored) < len(numbers):
        return Withheld(f"the study's folder holds the predictions of {len(stored)} of {len(numbers)} completed trials")
    if len({trial.ids for trial in stored}) > 1:
        return Withheld("the predictions of the trials are of different images")
    predicted = [trial.probabilities.argmax(axis=2).astype(np.int8) for trial in stored]
    trials = np.repeat(numbers, [len(steps) for steps in predicted])
    losses = None
    if results.info.metric == "nll":
        by_step = [cross_entropy(trial.grades, normalized(step)) for trial in stored for step in trial.probabilities]
        losses = np.array(by_step, dtype=np.float32)
    return Candidates(trials, np.concatenate(predicted), stored[0].grades, results.info.metric, losses)


def at_best_epochs(candidates: Candidates, results: StudyResults) -> Candidates:
    """Return one candidate per trial: the epoch that was its best when it ran."""
    rows = results.eligible.sort_values("number")
    starts: NDArray[np.int64] = np.searchsorted(candidates.trials, rows["number"].to_numpy(dtype=np.int64))
    return candidates.at(starts + rows["best_step"].to_numpy(dtype=np.int64) - 1)
