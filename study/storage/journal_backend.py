"""A study in Optuna's journal: a file to which every change is appended as a line, and that any file system can share.

Who writes holds a lock file beside the journal, as all programs with Optuna do. What a study is follows from the order
of the lines, for every reader alike.
"""

import contextlib
import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.storages.journal._file import BaseJournalFileLock, get_lock_file
from optuna.trial import FrozenTrial, TrialState

from study.storage.backend import TAKEN, GoalReachedError

FIRST_BYTES = b'{"op_code":'
"""How each line of a journal begins."""

Logs = list[dict[str, Any]]


class JournalFile(JournalFileBackend):
    """Optuna's file of a journal, in which several changes can be made at once, or one that hangs on what is there.

    Args:
        path: the file; it is made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._turn = _JournalLock(path)
        self._gathered: Logs | None = None
        super().__init__(str(path), self._turn)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process from writing during the block."""
        with _reported(), get_lock_file(self._turn):
            yield

    @contextlib.contextmanager
    def gathering(self, logs: Logs) -> Iterator[None]:
        """Add to ``logs`` what the block would append to the file."""
        self._gathered = logs
        try:
            yield
        finally:
            self._gathered = None

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]  # a generator too
        """Read what was appended since; nothing while logs are gathered, so that a gathered one costs no look."""
        if self._gathered is None:
            with _reported():
                yield from super().read_logs(log_number_from)

    def append_logs(self, logs: Logs) -> None:
        """Append logs, after the last whole line.

        Raises:
            StorageInternalError: when the file does not take them.
        """
        if self._gathered is not None:
            self._gathered += logs
            return
        with self.alone():
            self._mend()
            super().append_logs(logs)

    def _mend(self) -> None:
        """Cut off what a process that was killed, or a full disk, left of a line: nothing behind it could be read."""
        with Path(self._file_path).open("r+b") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)


class _JournalLock(BaseJournalFileLock):
    """The lock that Optuna puts beside a journal; its holder may take it again.

    Of Optuna's two, which know each other's file, this one needs no symbolic links. One that a killed process left is
    taken over after half a minute.
    """

    def __init__(self, path: Path) -> None:
        self._lock = JournalFileOpenLock(str(path))
        self._depth = 0

    def acquire(self) -> bool:
        if not self._depth:
            self._lock.acquire()
        self._depth += 1
        return True

    def release(self) -> None:
        self._depth -= 1
        if not self._depth:
            # Of one that slept for half a minute the lock was taken over; what it wrote stands where it stands.
            with contextlib.suppress(RuntimeError):
                self._lock.release()


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Raise what an operating system says of a file as what Optuna says of a storage."""
    try:
        yield
    except OSError as error:
        raise StorageInternalError(f"the study's journal cannot be read or written: {error}") from error


class JournalBackend:
    """The ``StudyBackend`` of a study in a journal: what is noted is appended at once, ends last."""

    def __init__(self, storage: JournalStorage, study_id: int) -> None:
        assert isinstance(storage._backend, JournalFile)
        self._storage, self._file = storage, storage._backend
        self._study_id = study_id
        self._noted: defaultdict[int, Logs] = defaultdict(list)
        self._ended: dict[int, TrialState] = {}
        self._doubtful = False
        """Whether some of this may be in the file, since writing it failed half-way."""

    @property
    def ending(self) -> list[int]:
        """The trials that are noted to end, by id."""
        return list(self._ended)

    def look(self, after: int, among: Collection[int]) -> dict[int, TrialState]:
        """Return the states, by id, of trials that came after the id ``after`` or are ``among`` these."""
        trials = self._trials()
        return {trial._trial_id: trial.state for trial in trials if trial._trial_id > after or trial._trial_id in among}

    def read(self, trial_ids: Collection[int], last: int) -> Iterable[FrozenTrial]:
        """Return the trials with these ids."""
        return [trial for trial in self._trials() if trial._trial_id in trial_ids]

    def begin(self, limit: int | None) -> FrozenTrial:
        """Add a running trial."""
        with self._file.alone():
            self._check_goal(limit)
            return self._storage.get_trial(self._storage.create_new_trial(self._study_id))

    def queue(self, template: FrozenTrial) -> FrozenTrial:
        """Add a trial like ``template``."""
        return self._storage.get_trial(self._storage.create_new_trial(self._study_id, template))

    def start(self, trial_id: int, limit: int | None) -> datetime | None:
        """Start a waiting trial; return when, or None when it did not wait any more."""
        with self._file.alone():
            if self._storage.get_trial(trial_id).state != TrialState.WAITING:
                return None
            self._check_goal(limit)
            self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
            return self._storage.get_trial(trial_id).datetime_start

    def add_param(self, trial_id: int, name: str, internal_value: float, distribution: BaseDistribution) -> None:
        """Note a parameter of a trial."""
        with self._file.gathering(self._noted[trial_id]):
            self._storage.set_trial_param(trial_id, name, internal_value, distribution)

    def put_attribute(self, kind: str, trial_id: int, key: str, value_json: str, *, anew: bool) -> None:
        """Note a ``user`` or ``system`` attribute of a trial."""
        storage = self._storage
        put = storage.set_trial_user_attr if kind == "user" else storage.set_trial_system_attr
        with self._file.gathering(self._noted[trial_id]):
            put(trial_id, key, json.loads(value_json))

    def put_intermediate(self, trial_id: int, step: int, value: float, *, anew: bool) -> None:
        """Note what a trial reports at a step."""
        with self._file.gathering(self._noted[trial_id]):
            self._storage.set_trial_intermediate_value(trial_id, step, value)

    def end(self, trial_id: int, before: TrialState, after: TrialState, values: Sequence[float] | None) -> None:
        """Note that a trial ends."""
        with self._file.gathering(self._noted[trial_id]):
            self._storage.set_trial_state_values(trial_id, after, values)
        self._ended[trial_id] = after

    def write(self) -> None:
        """Append everything that is noted, and forget it; what the file did not take is kept for the next time.

        Raises:
            UpdateFinishedTrialError: when another process ended a trial that is noted to end; all is forgotten.
            StorageInternalError: when the file does not take it.
        """
        if not self._noted:
            return
        try:
            with self._file.alone():
                self._append()
        except StorageInternalError:
            self._doubtful = True
            raise
        except UpdateFinishedTrialError:
            self._forget()
            raise
        self._forget()

    def _append(self) -> None:
        """Append what is noted of trials that are open; others take nothing more."""
        states = {trial_id: self._storage.get_trial(trial_id).state for trial_id in self._noted}
        over = {trial_id for trial_id, state in states.items() if state.is_finished()}
        for trial_id in over & self._ended.keys():
            if not (self._doubtful and states[trial_id] == self._ended[trial_id]):
                raise UpdateFinishedTrialError(f"another process ended the trial with the id {trial_id}")
        logs = [log for trial_id, logs in self._noted.items() if trial_id not in over for log in logs]
        if logs:
            self._file.append_logs(logs)

    def _forget(self) -> None:
        self._noted.clear()
        self._ended.clear()
        self._doubtful = False

    def _trials(self, states: Collection[TrialState] | None = None) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._study_id, deepcopy=False, states=states)

    def _check_goal(self, limit: int | None) -> None:
        if limit is not None and len(self._trials(TAKEN)) >= limit:
            raise GoalReachedError
