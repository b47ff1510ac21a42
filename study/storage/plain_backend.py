"""A study through Optuna's published storage interface: every change is a call of its own."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from study.storage.backend import TAKEN, AttributeKind, GoalReachedError, Storage


class _Change(NamedTuple):
    trial_id: int
    apply: Callable[[], object]


class PlainBackend:
    """The ``StudyBackend`` of a journal, and of a database whose installed Optuna has other internals than we know.

    Changes are applied in their order, and the end of a trial comes last. So a tuner that is killed while it writes
    leaves a running trial, which is run again.

    Args:
        storage: an Optuna storage.
        study_id: the storage's number of the study.
        exclusive: a context in which no other process changes the study. Without one, two tuners that ask for the last
            trial at the same moment may both get one.
    """

    def __init__(
        self,
        storage: Storage,
        study_id: int,
        exclusive: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._storage = storage
        self._study_id = study_id
        self._exclusive = exclusive
        # Optuna caches finished trials for a loaded study, so reading costs what is new.
        self._study = optuna.load_study(study_name=storage.get_study_name_from_id(study_id), storage=storage)
        self._ids: dict[int, int] = {}
        """Trial ids by trial number."""
        self._changes: list[_Change] = []
        self._ends: dict[int, TrialState] = {}
        self._may_be_written = False
        """Whether the first change may be in the storage: the answer to it was lost."""

    @property
    def ending(self) -> list[int]:
        """Ids of the trials whose end is not written yet."""
        return list(self._ends)

    def states(self, after: int, among: Collection[int]) -> dict[int, TrialState]:
        """Return the states, by id, of the trials with an id above ``after`` or in ``among``."""
        states = ((self._id(trial), trial.state) for trial in self._study.get_trials(deepcopy=False))
        return {trial_id: state for trial_id, state in states if trial_id > after or trial_id in among}

    def read(self, trial_ids: Collection[int]) -> Iterable[tuple[int, FrozenTrial]]:
        """Return the trials with these ids, each with its id."""
        trials = ((self._id(trial), trial) for trial in self._study.get_trials(deepcopy=False))
        return [(trial_id, trial) for trial_id, trial in trials if trial_id in trial_ids]

    def create(self, limit: int | None) -> tuple[int, FrozenTrial]:
        """Add a running trial; return its id and the trial."""
        with self._exclusive():
            self._check_limit(limit)
            trial_id = self._storage.create_new_trial(self._study_id)
        return trial_id, self._storage.get_trial(trial_id)

    def queue(self, template: FrozenTrial) -> tuple[int, FrozenTrial]:
        """Add a trial like ``template``; return its id and the trial."""
        trial_id = self._storage.create_new_trial(self._study_id, template)
        return trial_id, self._storage.get_trial(trial_id)

    def start(self, trial_id: int, limit: int | None) -> datetime | None:
        """Start a waiting trial; return the time, or None when another tuner started it."""
        with self._exclusive():
            if self._storage.get_trial(trial_id).state != TrialState.WAITING:
                return None
            self._check_limit(limit)
            started = self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        return self._storage.get_trial(trial_id).datetime_start if started else None

    def set_param(self, trial_id: int, name: str, internal_value: float, distribution: BaseDistribution) -> None:
        """Add a parameter of a trial."""

        def apply() -> None:
            # A database refuses a parameter twice; the first call may have been written without an answer.
            if not (self._may_be_written and name in self._storage.get_trial(trial_id).params):
                self._storage.set_trial_param(trial_id, name, internal_value, distribution)

        self._changes.append(_Change(trial_id, apply))

    def set_attribute(self, kind: AttributeKind, trial_id: int, key: str, value: Any, *, new: bool) -> None:
        """Set an attribute of a trial."""
        set_it = self._storage.set_trial_user_attr if kind == "user" else self._storage.set_trial_system_attr
        self._changes.append(_Change(trial_id, partial(set_it, trial_id, key, value)))

    def set_intermediate(self, trial_id: int, step: int, value: float, *, new: bool) -> None:
        """Set the value that a trial reported at a step."""
        set_it = self._storage.set_trial_intermediate_value
        self._changes.append(_Change(trial_id, partial(set_it, trial_id, step, value)))

    def end(self, trial_id: int, before: TrialState, after: TrialState, values: Sequence[float] | None) -> None:
        """End a trial."""
        set_it = self._storage.set_trial_state_values
        self._changes.append(_Change(trial_id, partial(set_it, trial_id, after, values)))
        self._ends[trial_id] = after

    def write(self) -> None:
        """Apply all changes in memory; those that the storage does not accept are kept for the next call."""
        while self._changes:
            change = self._changes[0]
            try:
                change.apply()
            except UpdateFinishedTrialError:
                ended_here = self._may_be_written and self._storage.get_trial(change.trial_id).state == self._ends.get(
                    change.trial_id
                )
                if change.trial_id in self._ends and not ended_here:
                    self._changes.clear()
                    self._ends.clear()
                    self._may_be_written = False
                    raise
            except Exception:
                self._may_be_written = True
                raise
            self._may_be_written = False
            del self._changes[0]
        self._ends.clear()

    def _id(self, trial: FrozenTrial) -> int:
        if trial.number not in self._ids:
            self._ids[trial.number] = self._storage.get_trial_id_from_study_id_trial_number(
                self._study_id, trial.number
            )
        return self._ids[trial.number]

    def _check_limit(self, limit: int | None) -> None:
        if limit is not None and len(self._study.get_trials(deepcopy=False, states=TAKEN)) >= limit:
            raise GoalReachedError
