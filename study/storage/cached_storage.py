"""An Optuna storage that caches reads and batches writes, for the one tuner process that runs trials of a study.

Optuna's own storages commit every value by itself and read back what was just written. Here all trials stay in memory,
and everything that is written inside ``CachedStorage.batch`` is written at once, in one transaction if the backend has
them. Trials of other tuners of the same study are read every second, and before each new trial.
"""

import copy
import json
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from study.storage.backend import AttributeKind, Storage, StudyBackend
from study.storage.journal import Journal
from study.storage.optuna_internals import BatchedRDBBackend, check_batched_rdb_backend
from study.storage.plain_backend import PlainBackend
from study.storage.reconnect import Reconnect

REFRESH_SECONDS = 1.0
"""Reads of the study are at most this much behind the changes of other tuners."""

_UNFINISHED = frozenset({TrialState.RUNNING, TrialState.WAITING})


def make_backend(storage: Storage, study_id: int, notify: Callable[[str], None] = lambda _line: None) -> StudyBackend:
    """Return the backend of a study: batched writes for a database, if the installed Optuna has the tables we know.

    Args:
        storage: an Optuna storage.
        study_id: the storage's number of the study.
        notify: gets a line when Optuna's own, slower writes are used for a database.
    """
    if isinstance(storage, Journal):
        return PlainBackend(storage, study_id, storage.file.exclusive)
    reason = check_batched_rdb_backend()
    if reason is None and isinstance(storage, RDBStorage):
        return BatchedRDBBackend(storage, study_id)
    notify(f"{reason}: every value is written by itself, which costs about 0.2 s a trial")
    return PlainBackend(storage, study_id)


class CachedStorage(BaseStorage):
    """The storage of one study, in one process and one thread.

    A killed tuner loses at most what it wrote in the last block of ``batch``.

    Args:
        storage: the Optuna storage that holds the study.
        study_id: the storage's number of the study; there are no other studies here.
        reconnect: calls the storage again while it does not answer.
        backend: reads and writes the study in ``storage``; by default as ``make_backend`` chooses.
    """

    def __init__(
        self,
        storage: Storage,
        study_id: int,
        reconnect: Reconnect | None = None,
        backend: StudyBackend | None = None,
    ) -> None:
        self.finished: list[FrozenTrial] = []
        """Finished trials, in the order in which this process saw them finish."""
        self.limit: int | None = None
        """No trial is started when so many are finished or running; None for no limit."""
        self._storage = storage
        self._retry = reconnect or Reconnect()
        self._backend = backend or self._retry(make_backend, storage, study_id, self._retry.notify)
        self._trials: dict[int, FrozenTrial] = {}
        """Trials by id."""
        self._ids: dict[int, int] = {}
        """Ids by trial number."""
        self._unfinished: set[int] = set()
        self._own: set[int] = set()
        """Unfinished trials that only this process writes to."""
        self._distributions: dict[str, BaseDistribution] = {}
        self._open_batches = 0
        self._last_id = -1
        self._refreshed = 0.0
        self.refresh()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Write everything that is written inside the ``with`` block at once, at its end."""
        self._open_batches += 1
        try:
            yield
        finally:
            self._open_batches -= 1
            self._write()

    def refresh(self) -> None:
        """Read what other tuners changed: new trials, states, and values of trials that run elsewhere."""
        self._refreshed = time.monotonic()
        states = self._retry(self._backend.states, self._last_id, self._unfinished - self._own)
        changed = {
            trial_id
            for trial_id, state in states.items()
            if trial_id not in self._own
            and (trial_id not in self._trials or state != self._trials[trial_id].state or state == TrialState.RUNNING)
        }
        self._last_id = max([self._last_id, *states])
        if changed:
            for trial_id, trial in self._retry(self._backend.read, changed):
                if trial_id in changed:
                    self._store(trial_id, trial)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials (in these states) by number."""
        if time.monotonic() - self._refreshed > REFRESH_SECONDS:
            self.refresh()
        only_unfinished = states is not None and not any(
            state in states for state in TrialState if state not in _UNFINISHED
        )
        trials = [self._trials[trial_id] for trial_id in (self._unfinished if only_unfinished else self._trials)]
        selected = sorted(
            (trial for trial in trials if states is None or trial.state in states), key=lambda trial: trial.number
        )
        return copy.deepcopy(selected) if deepcopy else selected

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; an unfinished one as a copy, since Optuna's ``Trial`` writes into it."""
        if trial_id not in self._trials:
            self.refresh()
        if trial_id not in self._trials:
            raise KeyError(f"the study has no trial with the id {trial_id}")
        trial = self._trials[trial_id]
        return _copy(trial) if trial_id in self._unfinished else trial

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the id of the trial with a number."""
        if trial_number not in self._ids:
            self.refresh()
        if trial_number not in self._ids:
            raise KeyError(f"the study has no trial {trial_number}")
        return self._ids[trial_number]

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial at once, since only the storage can number it; return its id."""
        if template_trial is None:
            trial_id, trial = self._retry(self._backend.create, self.limit)
            self._own.add(trial_id)
        else:
            trial_id, trial = self._queue(template_trial)
        self._store(trial_id, trial)
        return trial_id

    def _queue(self, template: FrozenTrial) -> tuple[int, FrozenTrial]:
        """Queue a trial once, although the answer of the storage can be lost after it added the trial."""
        last_id, called = self._last_id, False

        def queue() -> tuple[int, FrozenTrial]:
            nonlocal called
            if called:
                self.refresh()
                for trial_id in self._unfinished:
                    if trial_id > last_id and self._trials[trial_id].user_attrs == template.user_attrs:
                        return trial_id, self._trials[trial_id]
            called = True
            return self._backend.queue(template)

        return self._retry(queue)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Add a parameter of a running trial."""
        trial = self._new_version(trial_id)
        if param_name in self._distributions:
            check_distribution_compatibility(self._distributions[param_name], distribution)
        self._distributions.setdefault(param_name, distribution)
        trial.params[param_name] = distribution.to_external_repr(param_value_internal)
        trial.distributions[param_name] = distribution
        self._backend.set_param(trial_id, param_name, param_value_internal, distribution)
        self._write()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Set the value that a trial reports at a step."""
        trial = self._new_version(trial_id)
        new = step not in trial.intermediate_values
        self._backend.set_intermediate(trial_id, step, intermediate_value, new=new)
        trial.intermediate_values[step] = intermediate_value
        self._write()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a user attribute of a trial."""
        self._set_attribute("user", trial_id, self._new_version(trial_id).user_attrs, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a system attribute of a trial."""
        self._set_attribute("system", trial_id, self._new_version(trial_id).system_attrs, key, value)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Start a waiting trial at once, or end one together with its other changes.

        Returns:
            False when another tuner started the trial.
        """
        trial = self._new_version(trial_id)
        if state == TrialState.RUNNING:
            started = self._retry(self._backend.start, trial_id, self.limit)
            if started is None:
                return False
            trial.state, trial.datetime_start = TrialState.RUNNING, started
            self._own.add(trial_id)
            return True
        self._backend.end(trial_id, trial.state, state, values)
        trial.values = values
        trial.state, trial.datetime_complete = state, datetime.now()  # noqa: DTZ005 (Optuna's times are naive)
        self._store(trial_id, trial)
        self._write()
        return True

    def _set_attribute(
        self, kind: AttributeKind, trial_id: int, attributes: dict[str, Any], key: str, value: Any
    ) -> None:
        # As every reader will see it: JSON has no tuples and no integer keys.
        value = value if isinstance(value, str | int | float | None) else json.loads(json.dumps(value))
        self._backend.set_attribute(kind, trial_id, key, value, new=key not in attributes)
        attributes[key] = value
        self._write()

    def _new_version(self, trial_id: int) -> FrozenTrial:
        """Return a copy of an unfinished trial to write into, in place of the one that samplers and pruners hold."""
        trial = self.get_trial(trial_id)
        self.check_trial_is_updatable(trial_id, trial.state)
        self._trials[trial_id] = trial
        return trial

    def _write(self) -> None:
        if self._open_batches:
            return
        ending = self._backend.ending
        try:
            self._retry(self._backend.write)
        except UpdateFinishedTrialError:
            self._restore(ending)
            raise

    def _restore(self, trial_ids: Sequence[int]) -> None:
        """Read trials that another process ended, in place of how they were to end here."""
        numbers = {self._trials[trial_id].number for trial_id in trial_ids}
        self.finished = [trial for trial in self.finished if trial.number not in numbers]
        for trial_id in trial_ids:
            self._store(trial_id, self._retry(self._storage.get_trial, trial_id))

    def _store(self, trial_id: int, trial: FrozenTrial) -> None:
        self._trials[trial_id] = trial
        self._ids[trial.number] = trial_id
        for name, distribution in trial.distributions.items():
            self._distributions.setdefault(name, distribution)
        if trial.state in _UNFINISHED:
            self._unfinished.add(trial_id)
        else:
            self._unfinished.discard(trial_id)
            self._own.discard(trial_id)
            self.finished.append(trial)

    # Calls about the whole study are rare and go to the storage.

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Create a study in the storage."""
        return self._storage.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        """Delete a study from the storage."""
        self._storage.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set a user attribute of the study."""
        self._retry(self._storage.set_study_user_attr, study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set a system attribute of the study."""
        self._retry(self._storage.set_study_system_attr, study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the storage's number of a study."""
        return self._retry(self._storage.get_study_id_from_name, study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name of a study."""
        return self._retry(self._storage.get_study_name_from_id, study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the one direction that all our studies have."""
        return [StudyDirection.MAXIMIZE]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the user attributes of the study."""
        return self._retry(self._storage.get_study_user_attrs, study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the system attributes of the study."""
        return self._retry(self._storage.get_study_system_attrs, study_id)

    def get_all_studies(self) -> list[Any]:
        """Return all studies of the storage."""
        return self._retry(self._storage.get_all_studies)


def _copy(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial whose values can be added to without changing the other one."""
    twin = copy.copy(trial)
    twin.params, twin.distributions = dict(trial.params), dict(trial.distributions)
    twin.intermediate_values = dict(trial.intermediate_values)
    twin.user_attrs, twin.system_attrs = dict(trial.user_attrs), dict(trial.system_attrs)
    return twin
