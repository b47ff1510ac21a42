"""The trials of a study by state, and their ranking."""

from collections.abc import Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from study.results.progress import ProgressCounts, RankedTrial, StudyProgress, is_feasible
from study.storage.cached_storage import CachedStorage


class ProgressTally:
    """Counts and ranks the trials of a study, those of other tuners included.

    Args:
        study: the study.
        storage: the storage that the study reads from.
    """

    def __init__(self, study: Study, storage: CachedStorage) -> None:
        self._study = study
        self._storage = storage
        self._counts = ProgressCounts()
        self._counted = 0

    @property
    def running(self) -> int:
        """Number of running trials, those of other tuners included."""
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    @property
    def waiting(self) -> int:
        """Number of queued trials."""
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    @property
    def finished(self) -> int:
        """Number of COMPLETE and PRUNED trials."""
        return self._updated().finished

    @property
    def progress(self) -> StudyProgress:
        """Number of trials in each state, and the best trial."""
        unfinished = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
        return self._updated().progress(unfinished)

    @property
    def ranking(self) -> Sequence[RankedTrial]:
        """The completed trials, best first; infeasible ones last."""
        return self._updated().ranking

    def best_steps(self) -> dict[int, int]:
        """Return the best step of each feasible completed trial, by number."""
        complete = self.trials(TrialState.COMPLETE)
        return {trial.number: trial.user_attrs["best_step"] for trial in complete if is_feasible(trial)}

    def refresh(self) -> None:
        """Read at once what other tuners changed; without this, it is read every second."""
        self._storage.refresh()

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials (in these states) as they are now. They are not copies: do not change them."""
        self.refresh()
        return self._study.get_trials(deepcopy=False, states=states or None)

    def _updated(self) -> ProgressCounts:
        finished = self._storage.finished
        for trial in finished[self._counted :]:
            self._counts.add(trial)
        self._counted = len(finished)
        return self._counts
