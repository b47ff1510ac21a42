"""All statistics of one study, computed from its tables."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.report.statistics.depth import Curve, DepthRow, depth_curves, depth_table
from study.report.statistics.history import TrialPoint, history
from study.report.statistics.importance import Importance, importance
from study.report.statistics.intervals import Withheld
from study.report.statistics.noise import Noise, noise
from study.report.statistics.peak import BestVersusLast, Peak, best_versus_last, peak
from study.results import StudyResults

COMPARED = 20
"""How many of the best trials are compared with the best one, image by image."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a report says in figures; a statistic that would be invalid is ``Withheld``."""

    history: tuple[TrialPoint, ...] | Withheld
    depths: tuple[DepthRow, ...] | Withheld
    curves: tuple[Curve, ...] | Withheld
    peak: Peak | Withheld
    best_versus_last: BestVersusLast | Withheld
    noise: Noise | Withheld
    score_importance: Importance | Withheld
    gap_importance: Importance | Withheld


def summarize(results: StudyResults) -> Statistics:
    """Compute all statistics of a study."""
    complete, n_validation = results.complete, int(results.info.split["n_validation"])
    return Statistics(
        history=history(results.trials),
        depths=depth_table(complete, n_validation),
        curves=depth_curves(complete, results.epochs),
        peak=peak(complete),
        best_versus_last=best_versus_last(complete),
        noise=noise(complete, n_validation, _correct(results)),
        score_importance=importance(complete, results.info.dimensions, "score"),
        gap_importance=importance(complete, results.info.dimensions, "gap_last"),
    )


def _correct(results: StudyResults) -> NDArray[np.bool_] | None:
    """Which validation images the best trials got right at their best step, best trial first."""
    best_first = results.complete.head(COMPARED)
    rows = []
    for number, step in zip(best_first["number"], best_first["best_step"], strict=True):
        told = results.predictions(int(number))
        if told is None:
            return None
        rows.append(told.probabilities[int(step) - 1].argmax(axis=1) == told.grades)
    return np.array(rows) if rows else None
