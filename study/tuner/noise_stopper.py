"""How sure the best trial of a running study is, and whether going on can still tell anything.

Kept up to date by the driver from the validation predictions of trials that ran to their end; a study that is gone on
with reads those of earlier runs from their folders.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drft.training.records import Predictions, TrialResult
from study.results.progress import BestCertainty


class NoiseStopper:
    """Which validation images each finished trial gets right at its best step.

    Trials that were validated on different images, as those of a confirmation are, do not compare: then nothing is
    said.
    """

    def __init__(self) -> None:
        self._correct: dict[int, NDArray[np.bool_]] = {}
        self._images: set[tuple[str, ...]] = set()

    def recall(self, best_steps: Mapping[int, int], folder: Path) -> None:
        """Take in trials of earlier runs.

        Args:
            best_steps: the best step of each trial that ran to its end.
            folder: where the trials' folders are; one that is not there is left out.
        """
        for number, step in best_steps.items():
            path = folder / f"{number:04d}" / "predictions.npz"
            if path.is_file():
                with np.load(path, allow_pickle=False) as kept:
                    part = (kept[f"validation_{name}"] for name in ("ids", "grades", "probabilities"))
                    self._keep(number, step, Predictions(*part))

    def add(self, number: int, result: TrialResult) -> None:
        """Take in a trial that has ended; one that was pruned says nothing of its best."""
        if result.ending != "pruned":
            self._keep(number, result.best.step, result.predictions["validation"])

    def certainty(self) -> BestCertainty | None:
        """Return the interval of the best accuracy, and how many cannot be told from it; None before there is one."""
        # SciPy's import waits until there is something to say, so that the first trial does not wait for it.
        from study.analysis.running import compare_running  # noqa: PLC0415

        stands = compare_running(self._table()) if self._speaks else None
        if stands is None or stands.best.low is None or stands.best.high is None:
            return None
        return BestCertainty(stands.best.low, stands.best.high, stands.alike, stands.n_trials)

    def noise(self) -> str | None:
        """Return why further trials could show nothing but noise; None while they could show more."""
        if not self._speaks:
            return None
        from study.analysis.running import noise_verdict  # noqa: PLC0415

        verdict = noise_verdict(self._table())
        return verdict.reason if verdict.stop else None

    def _keep(self, number: int, step: int, told: Predictions) -> None:
        self._images.add(tuple(map(str, told.ids)))
        self._correct[number] = told.probabilities[step - 1].argmax(axis=1) == told.grades

    @property
    def _speaks(self) -> bool:
        return len(self._images) == 1

    def _table(self) -> NDArray[np.bool_]:
        return np.array(list(self._correct.values()))
