"""Several storages as the one that Optuna's dashboard shows.

The dashboard's pages show one storage and live at fixed paths, so a server cannot offer them twice. With the storages
joined, the dashboard's list of studies and its comparison work across all of them.
"""

import contextlib
import copy
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NoReturn

import optuna
import optuna_dashboard
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from drft.errors import StudyError
from study.dashboard.artifacts import TrialArtifacts, TrialFolder
from study.results.locate import StudyLocation
from study.storage.backend import Storage
from study.storage.open import open_storage
from study.storage.optuna_internals import check_renumber_trial, renumber_trial

REFRESH_SECONDS = 2.0
"""Requests read a storage again when the last read is older than this."""


@dataclass(slots=True)
class _StoredStudy:
    """A study in its own storage, as last read."""

    url: str
    storage: Storage
    study_id: int
    study: optuna.Study
    """Reads trials through Optuna's cache: finished ones once."""
    folder: TrialFolder | None
    """Stands for the folder of any trial; None for another study in the same storage."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """System attributes."""
    note: str = ""
    trials: list[FrozenTrial] = field(default_factory=list)
    """The trials as shown."""
    trials_read: float = -math.inf
    """Monotonic time of the last read."""


class MultiStorage(BaseStorage):
    """The studies of several storages, with the artifacts of their trials, as one storage with ids of its own.

    Changes go to the storage of the study. Reads come from memory, which is at most ``REFRESH_SECONDS`` old.

    Args:
        locations: studies to show; other studies of their storages are shown without artifacts.
        read_only: whether to refuse every change.
    """

    def __init__(self, locations: Sequence[StudyLocation], *, read_only: bool = False) -> None:
        self.memory = InMemoryStorage()
        """All studies without their trials. Attributes that are set here are shown, and written to no storage."""
        self.memory.delete_study(self.memory.create_new_study([StudyDirection.MAXIMIZE]))  # ids start at 1 in databases
        self.artifacts = TrialArtifacts()
        self._read_only = read_only
        self.note_fault = check_renumber_trial()
        """Why notes of trials cannot be shown, and notes cannot be written; None if they can."""
        self._locations = {(location.url, location.name): location for location in locations}
        self._prefixes = {location.url: f"{location.folder}/" for location in reversed(locations)}
        self._storages = {
            url: open_storage(url, create=False) for url in dict.fromkeys(url for url, _ in self._locations)
        }
        names = Counter(name for storage in self._storages.values() for name in optuna.get_all_study_names(storage))
        self._repeated = {name for name, times in names.items() if times > 1}
        self._stored: dict[int, _StoredStudy] = {}
        self._trial_ids: dict[tuple[int, int], int] = {}
        """Ids of trials, by the id of the study and the number of the trial."""
        self._trials: dict[int, tuple[int, int]] = {}
        """The keys of ``_trial_ids``, by id."""
        self._studies_read = -math.inf
        self._lock = threading.RLock()

    def shown_name(self, location: StudyLocation) -> str:
        """Return the name of a study here: behind its folder where storages have several studies of that name."""
        return self._shown_name(location.url, location.name)

    def _shown_name(self, url: str, name: str) -> str:
        return f"{self._prefixes[url]}{name}" if name in self._repeated else name

    # Reading. Each method of Optuna's begins with one of these two.

    def _read_studies(self) -> InMemoryStorage:
        """Bring all but the trials up to date, and return it."""
        with self._lock:
            if time.monotonic() - self._studies_read < REFRESH_SECONDS:
                return self.memory
            shown = {(stored.url, stored.study.study_name): study_id for study_id, stored in self._stored.items()}
            for url, storage in self._storages.items():
                for study in storage.get_all_studies():
                    study_id = shown.pop((url, study.study_name), None)
                    if study_id is None:
                        study_id = self._add_study(url, study.study_name, study.directions, study.user_attrs)
                    self._copy_attributes(study_id, study.user_attrs, study.system_attrs)
            for study_id in shown.values():  # deleted by another process
                self._remove_study(study_id)
            self._studies_read = time.monotonic()
            return self.memory

    def _read_trials(self, study_id: int) -> list[FrozenTrial]:
        """Return the trials of a study, by number, as shown."""
        with self._lock:
            self._read_studies()
            stored = self._stored[study_id]
            if time.monotonic() - stored.trials_read >= REFRESH_SECONDS:
                trials = stored.study.get_trials(deepcopy=False)
                stored.trials = [self._shown_trial(study_id, stored, trial) for trial in trials]
                stored.trials_read = time.monotonic()
            return stored.trials

    def _add_study(self, url: str, name: str, directions: Sequence[StudyDirection], attributes: dict[str, Any]) -> int:
        location, folder = self._locations.get((url, name)), None
        if location is not None:
            grades: Sequence[str] = ()
            with contextlib.suppress(ValueError, TypeError, AttributeError):  # a damaged attribute costs the names
                grades = json.loads(attributes.get("cohort", "{}")).get("grades", ())
            folder = TrialFolder(location.folder / "trials", -1, attributes.get("metric", "accuracy"), grades)
        shown_name = self._shown_name(url, name)
        if shown_name in optuna.get_all_study_names(self.memory):  # a study that is newer than this dashboard
            shown_name = f"{self._prefixes[url]}{name}"
        study_id = self.memory.create_new_study(directions, shown_name)
        storage = self._storages[url]
        study = optuna.load_study(study_name=name, storage=storage)
        self._stored[study_id] = _StoredStudy(url, storage, storage.get_study_id_from_name(name), study, folder)
        return study_id

    def _remove_study(self, study_id: int) -> None:
        self.memory.delete_study(study_id)
        del self._stored[study_id]

    def _copy_attributes(self, study_id: int, user_attributes: dict[str, Any], attributes: dict[str, Any]) -> None:
        """Show the attributes that have changed in the storage; others keep what was set in memory."""
        stored = self._stored[study_id]
        for key, value in user_attributes.items():
            self.memory.set_study_user_attr(study_id, key, value)
        changed = [key for key, value in attributes.items() if stored.attributes.get(key, stored) != value]
        stored.attributes = attributes
        if not changed:
            return
        for key in changed:
            if self.note_fault is None or not key.startswith("dashboard:"):
                with contextlib.suppress(KeyError):
                    shown_key = renumber_trial(key, partial(self._shown_id, study_id))
                    self.memory.set_study_system_attr(study_id, shown_key, attributes[key])
        # Long notes have several attributes. Saving the note again removes what a longer one in memory has left.
        note = optuna_dashboard.get_note(stored.study)
        shown_study = optuna.load_study(study_name=self.memory.get_study_name_from_id(study_id), storage=self.memory)
        if note not in {stored.note, optuna_dashboard.get_note(shown_study)}:
            optuna_dashboard.save_note(shown_study, note)
        stored.note = note

    def _shown_trial(self, study_id: int, stored: _StoredStudy, trial: FrozenTrial) -> FrozenTrial:
        artifacts: dict[str, Any] = {}
        if stored.folder is not None:
            path = stored.folder.path / f"{trial.number:04d}"
            artifacts = self.artifacts.attributes(replace(stored.folder, path=path, number=trial.number))
        return FrozenTrial(
            number=trial.number,
            state=trial.state,
            value=None,
            values=trial.values,
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=trial.user_attrs,
            system_attrs=trial.system_attrs | artifacts,
            intermediate_values=trial.intermediate_values,
            trial_id=self._trial_id(study_id, trial.number),
        )

    def _trial_id(self, study_id: int, number: int) -> int:
        key = (study_id, number)
        if key not in self._trial_ids:
            self._trial_ids[key] = len(self._trials) + 1
            self._trials[self._trial_ids[key]] = key
        return self._trial_ids[key]

    def _shown_id(self, study_id: int, stored_id: int) -> int:
        """Return the id here of a trial of a study by its id in the storage.

        Raises:
            KeyError: when the study has no such trial; ``optuna.copy_study`` leaves ids of the old storage in keys.
        """
        stored = self._stored[study_id]
        number = stored.storage.get_trial_number_from_id(stored_id)
        if stored.storage.get_trial_id_from_study_id_trial_number(stored.study_id, number) != stored_id:
            raise KeyError(stored_id)
        return self._trial_id(study_id, number)

    def get_all_studies(self) -> list[Any]:
        """Return all studies."""
        return self._read_studies().get_all_studies()

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of a study by its shown name."""
        return self._read_studies().get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the shown name of a study."""
        return self._read_studies().get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the directions of a study."""
        return self._read_studies().get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the user attributes of a study."""
        return self._read_studies().get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the system attributes of a study, with those set in memory."""
        return self._read_studies().get_study_system_attrs(study_id)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials (in these states) by number, with their artifacts."""
        trials = [trial for trial in self._read_trials(study_id) if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial with its artifacts."""
        study_id, number = self._trials[trial_id]
        return self._read_trials(study_id)[number]

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the id of a trial."""
        self._read_trials(study_id)
        return self._trial_ids[study_id, trial_number]

    # Changes.

    def _to_change(self, study_id: int) -> _StoredStudy:
        if self._read_only:
            raise StudyError("the dashboard is read-only: start it without --read-only to change anything")
        stored = self._stored[study_id]
        stored.trials_read = -math.inf  # the next read shows the change
        return stored

    def _trial_to_change(self, trial_id: int) -> tuple[Storage, int]:
        """Return where a trial is stored, and its id there."""
        study_id, number = self._trials[trial_id]
        stored = self._to_change(study_id)
        return stored.storage, stored.storage.get_trial_id_from_study_id_trial_number(stored.study_id, number)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set it in the storage, and here at once."""
        with self._lock:
            stored = self._to_change(study_id)
            if self.note_fault is not None and key.startswith("dashboard:"):
                raise StudyError(f"notes cannot be written: {self.note_fault}")
            stored_key = renumber_trial(key, lambda trial_id: self._trial_to_change(trial_id)[1])
            stored.storage.set_study_system_attr(stored.study_id, stored_key, value)
            stored.attributes = {**stored.attributes, stored_key: value}
            self.memory.set_study_system_attr(study_id, key, value)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set it in the storage."""
        stored = self._to_change(study_id)
        stored.storage.set_study_user_attr(stored.study_id, key, value)

    def delete_study(self, study_id: int) -> None:
        """Delete it in the storage, and here at once."""
        with self._lock:
            stored = self._to_change(study_id)
            stored.storage.delete_study(stored.study_id)
            self._remove_study(study_id)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set them in the storage."""
        storage, stored_id = self._trial_to_change(trial_id)
        return storage.set_trial_state_values(stored_id, state, values)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set it in the storage."""
        storage, stored_id = self._trial_to_change(trial_id)
        storage.set_trial_user_attr(stored_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set it in the storage."""
        storage, stored_id = self._trial_to_change(trial_id)
        storage.set_trial_system_attr(stored_id, key, value)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: only ``drft-study run`` makes studies, trials and scores.

        Raises:
            StudyError: always.
        """
        raise StudyError("only `drft-study run` makes studies, trials and scores")

    create_new_study = create_new_trial = set_trial_param = set_trial_intermediate_value = _refuse
