"""The driver's own book of its study: what it knows it does not ask again, what it writes it writes together.

Optuna's own storages write every single value by itself and read back what was just written. Here the trials are held
in memory, and everything written inside :meth:`Ledger.together` becomes one transaction, or one addition to a journal.
Trials of other drivers of the same study are looked for now and then, and before each new trial.
"""

import copy
import json
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage
from optuna.study._frozen import FrozenStudy
from optuna.study._study_direction import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from study.storage.backend import Storage, StudyBackend
from study.storage.journal_backend import JournalBackend
from study.storage.rdb_backend import RDBBackend
from study.storage.reconnect import Reconnect

GLANCE_SECONDS = 1.0
"""For so long what is known of other drivers' trials is taken to be true."""

_OPEN = frozenset({TrialState.RUNNING, TrialState.WAITING})


class CachedStorage(BaseStorage):
    """An Optuna storage for the one driver process (and thread) that leads trials of one study.

    A killed driver loses at most the block of :meth:`together` that it was in.

    Args:
        backend: where the study is kept.
        study_id: the study; the ledger knows no other.
        patiently: does what may find the storage away.
    """

    def __init__(self, backend: Storage, study_id: int, patiently: Reconnect | None = None) -> None:
        self.finished: list[FrozenTrial] = []
        """Finished trials in the order in which this ledger saw them finish."""
        self.limit: int | None = None
        """No trial is begun when so many are finished or under way; None for no limit."""
        self._backend = backend
        self._patiently = patiently or Reconnect()
        self._study_id = study_id
        self._trials: dict[int, FrozenTrial] = {}
        self._ids: dict[int, int] = {}
        self._open: set[int] = set()
        self._own: set[int] = set()
        """Open trials that nobody else writes to."""
        self._distributions: dict[str, BaseDistribution] = {}
        self._book = _book(backend, study_id)
        self._nesting = 0
        self._last_id = -1
        self._looked = time.monotonic()
        self.refresh()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write everything that the block writes at once, at its end."""
        self._nesting += 1
        try:
            yield
        finally:
            self._nesting -= 1
            self._write()

    def refresh(self) -> None:
        """Take in what other drivers did: new trials, other states, values of trials that run elsewhere."""
        self._looked = time.monotonic()
        foreign = self._open - self._own
        seen = self._patiently(lambda: self._book.look(self._last_id, foreign))
        known = self._trials
        changed = {
            trial_id
            for trial_id, state in seen.items()
            if trial_id not in self._own
            and (trial_id not in known or state != known[trial_id].state or state == TrialState.RUNNING)
        }
        self._last_id = max([self._last_id, *seen])
        if changed:
            # The storage adds whatever came after the last one; that is for the next look.
            for trial in self._patiently(lambda: self._book.read(changed, self._last_id)):
                if trial._trial_id in changed:
                    self._take_in(trial)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials (in these states) by number."""
        if time.monotonic() - self._looked > GLANCE_SECONDS:
            self.refresh()
        only_open = states is not None and not any(state in states for state in TrialState if state not in _OPEN)
        among = [self._trials[trial_id] for trial_id in self._open] if only_open else self._trials.values()
        trials = sorted((trial for trial in among if states is None or trial.state in states), key=_number)
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; one that is open as a copy, which Optuna's own ``Trial`` writes into."""
        if trial_id not in self._trials:
            self.refresh()
        return _copy(self._trials[trial_id]) if trial_id in self._open else self._trials[trial_id]

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the storage's number of a trial."""
        if trial_number not in self._ids:
            self.refresh()
        return self._ids[trial_number]

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial at once, since only the storage can number it."""
        if template_trial is None:
            trial = self._patiently(lambda: self._book.begin(self.limit))
            self._own.add(trial._trial_id)
        else:
            trial = self._queue(template_trial)
        self._take_in(trial)
        return trial._trial_id

    def _queue(self, template: FrozenTrial) -> FrozenTrial:
        """Queue a trial, once: a storage that went away may have taken it before it could say so."""
        last, tried = self._last_id, False

        def queue() -> FrozenTrial:
            nonlocal tried
            if tried:
                self.refresh()
                taken = (self._trials[trial_id] for trial_id in self._open if trial_id > last)
                if there := next((trial for trial in taken if trial.user_attrs == template.user_attrs), None):
                    return there
            tried = True
            return self._book.queue(template)

        return self._patiently(queue)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Note a parameter of a running trial."""
        trial = self._new_page(trial_id)
        if param_name in self._distributions:
            check_distribution_compatibility(self._distributions[param_name], distribution)
        self._distributions.setdefault(param_name, distribution)
        trial.params[param_name] = distribution.to_external_repr(param_value_internal)
        trial.distributions[param_name] = distribution
        self._book.add_param(trial_id, param_name, param_value_internal, distribution)
        self._write()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Note what a trial reports."""
        trial = self._new_page(trial_id)
        self._book.put_intermediate(trial_id, step, intermediate_value, anew=step not in trial.intermediate_values)
        trial.intermediate_values[step] = intermediate_value
        self._write()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Note an attribute of ours."""
        self._set_attribute("user", trial_id, self._new_page(trial_id).user_attrs, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Note an attribute of Optuna's."""
        self._set_attribute("system", trial_id, self._new_page(trial_id).system_attrs, key, value)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Start a waiting trial, at once; or end one, together with what else is noted of it.

        Returns:
            False when another driver was faster to start it.
        """
        trial = self._new_page(trial_id)
        if state == TrialState.RUNNING:
            return self._start(trial)
        self._book.end(trial_id, trial.state, state, values)
        trial.values = values
        trial.state, trial.datetime_complete = state, datetime.now()  # noqa: DTZ005 (Optuna's times are naive)
        self._close(trial)
        self._write()
        return True

    def _start(self, trial: FrozenTrial) -> bool:
        started = self._patiently(lambda: self._book.start(trial._trial_id, self.limit))
        if started is None:
            return False
        trial.state, trial.datetime_start = TrialState.RUNNING, started
        self._own.add(trial._trial_id)
        return True

    def _set_attribute(self, kind: str, trial_id: int, held: dict[str, Any], key: str, value: Any) -> None:
        text = json.dumps(value)
        self._book.put_attribute(kind, trial_id, key, text, anew=key not in held)
        held[key] = value if isinstance(value, str | int | float | None) else json.loads(text)
        self._write()

    def _new_page(self, trial_id: int) -> FrozenTrial:
        """Return an open trial to write into, which samplers and pruners do not see in the lists they hold."""
        trial = self.get_trial(trial_id)
        self.check_trial_is_updatable(trial_id, trial.state)
        self._trials[trial_id] = trial
        return trial

    def _write(self) -> None:
        if self._nesting:
            return
        ending = self._book.ending
        try:
            self._patiently(self._book.write)
        except UpdateFinishedTrialError:
            self._take_back(ending)
            raise

    def _take_back(self, trial_ids: Sequence[int]) -> None:
        """Take trials to have ended as the storage says, and not as was said here."""
        self.finished = [trial for trial in self.finished if trial._trial_id not in trial_ids]
        for trial in self._patiently(lambda: [self._backend.get_trial(trial_id) for trial_id in trial_ids]):
            self._take_in(trial)

    def _take_in(self, trial: FrozenTrial) -> None:
        trial_id = trial._trial_id
        self._trials[trial_id] = trial
        self._ids[trial.number] = trial_id
        for name, distribution in trial.distributions.items():
            self._distributions.setdefault(name, distribution)
        if trial.state in _OPEN:
            self._open.add(trial_id)
        else:
            self._close(trial)

    def _close(self, trial: FrozenTrial) -> None:
        self._open.discard(trial._trial_id)
        self._own.discard(trial._trial_id)
        self.finished.append(trial)

    # What concerns the study as a whole is rare, and left to the storage.

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Pass on."""
        return self._backend.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        """Pass on."""
        self._backend.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Pass on."""
        self._patiently(lambda: self._backend.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Pass on."""
        self._patiently(lambda: self._backend.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        """Pass on."""
        return self._patiently(lambda: self._backend.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        """Pass on."""
        return self._patiently(lambda: self._backend.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the one direction all studies have."""
        return [StudyDirection.MAXIMIZE]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Pass on."""
        return self._patiently(lambda: self._backend.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Pass on."""
        return self._patiently(lambda: self._backend.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[FrozenStudy]:
        """Pass on."""
        return self._patiently(self._backend.get_all_studies)


def _book(storage: Storage, study_id: int) -> StudyBackend:
    return JournalBackend(storage, study_id) if isinstance(storage, JournalStorage) else RDBBackend(storage, study_id)


def _copy(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial whose values can be added to without changing the other one."""
    twin = copy.copy(trial)
    twin.params, twin.distributions = dict(trial.params), dict(trial.distributions)
    twin.intermediate_values = dict(trial.intermediate_values)
    twin.user_attrs, twin.system_attrs = dict(trial.user_attrs), dict(trial.system_attrs)
    return twin


def _number(trial: FrozenTrial) -> int:
    return trial.number
