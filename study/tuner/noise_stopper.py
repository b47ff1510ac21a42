"""How certain the best trial of a running study is, and whether further trials can still show anything but noise.

The tuner adds the validation predictions of every completed trial. When a study is resumed, those of earlier runs are
read from the trial folders.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drft.errors import StudyError
from drft.training.records import Predictions, TrialResult
from study.results.predictions_file import load_predictions, name_damage, reading
from study.results.progress import BestCertainty


class NoiseStopper:
    """Which validation images each completed trial classifies correctly at its best epoch.

    Trials that validate on different images, such as those of a confirmation, cannot be compared: then there is no
    certainty and no verdict.
    """

    def __init__(self) -> None:
        self._correct: dict[int, NDArray[np.bool_]] = {}
        self._image_ids: set[tuple[str, ...]] = set()

    def read_earlier(self, best_steps: Mapping[int, int], folder: Path) -> None:
        """Add trials of earlier runs.

        Args:
            best_steps: the best step of each completed trial, by number.
            folder: the folder with the trial folders; missing and damaged ones are left out.
        """
        for number, step in best_steps.items():
            path = folder / f"{number:04d}" / "predictions.npz"
            try:
                with reading(path):
                    self._add(number, step, load_predictions(path, "validation"))
            except FileNotFoundError:
                continue
            except StudyError as error:
                name_damage(f"{error}: trial {number} is not among the trials that decide whether to stop")

    def add(self, number: int, result: TrialResult) -> None:
        """Add a finished trial, unless it was pruned: its best epoch might have come later."""
        if result.ending != "pruned":
            self._add(number, result.best.step, result.predictions["validation"])

    def certainty(self) -> BestCertainty | None:
        """Return the interval of the best accuracy and how many trials are indistinguishable; None if unknown."""
        # SciPy is imported only when there are results, so that the first trial does not wait for it.
        from study.analysis.running import compare_running  # noqa: PLC0415

        comparison = compare_running(self._table()) if self._comparable else None
        if comparison is None or comparison.best.low is None or comparison.best.high is None:
            return None
        return BestCertainty(
            comparison.best.low, comparison.best.high, comparison.indistinguishable, comparison.n_trials
        )

    def reason_to_stop(self) -> str | None:
        """Return why further trials could only add noise; None while they could show more."""
        if not self._comparable:
            return None
        from study.analysis.running import noise_verdict  # noqa: PLC0415 (see above)

        verdict = noise_verdict(self._table())
        return verdict.reason if verdict.stop else None

    def _add(self, number: int, step: int, predictions: Predictions) -> None:
        self._image_ids.add(tuple(map(str, predictions.ids)))
        self._correct[number] = predictions.probabilities[step - 1].argmax(axis=1) == predictions.grades

    @property
    def _comparable(self) -> bool:
        return len(self._image_ids) == 1

    def _table(self) -> NDArray[np.bool_]:
        return np.array(list(self._correct.values()))
