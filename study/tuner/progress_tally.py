"""A study as it stands: how many of its trials are in which state, and which are the best."""

from collections.abc import Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from study.results.progress import ProgressCounts, RankedTrial, StudyProgress, is_feasible
from study.storage.cached_storage import CachedStorage


class ProgressTally:
    """Counts and ranks the trials of a study, whichever driver they belong to.

    Args:
        study: the study, kept in ``ledger``.
        ledger: the driver's book of it.
    """

    def __init__(self, study: Study, ledger: CachedStorage) -> None:
        self._study = study
        self._ledger = ledger
        self._tally = ProgressCounts()
        self._tallied = 0

    @property
    def underway(self) -> int:
        """How many trials are under way, those of other drivers included."""
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    @property
    def waiting(self) -> int:
        """How many trials are in the queue."""
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    @property
    def finished(self) -> int:
        """How many trials are COMPLETE or PRUNED."""
        return self._up_to_date().finished

    @property
    def progress(self) -> StudyProgress:
        """How many trials are in which state, and the best one."""
        unfinished = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
        return self._up_to_date().progress(unfinished)

    @property
    def ranking(self) -> Sequence[RankedTrial]:
        """The trials that ran to their end, best first, those that are not feasible behind the others."""
        return self._up_to_date().ranking

    def best_steps(self) -> dict[int, int]:
        """Return the best step of each feasible trial that ran to its end, in their order."""
        complete = self.trials(TrialState.COMPLETE)
        return {trial.number: trial.user_attrs["best_step"] for trial in complete if is_feasible(trial)}

    def refresh(self) -> None:
        """See at once what other drivers of the study did; else it is seen within a second."""
        self._ledger.refresh()

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials (in these states); they are no copies, so change nothing in them."""
        self.refresh()
        return self._study.get_trials(deepcopy=False, states=states or None)

    def _up_to_date(self) -> ProgressCounts:
        for trial in self._ledger.finished[self._tallied :]:
            self._tally.add(trial)
        self._tallied = len(self._ledger.finished)
        return self._tally

    def _trial(self, number: int) -> FrozenTrial:
        ledger = self._ledger
        return ledger.get_trial(ledger.get_trial_id_from_study_id_trial_number(self._study._study_id, number))
