"""Several storages as the one that Optuna's dashboard shows.

The dashboard's pages know one storage, and live at fixed paths: they cannot be mounted twice in one server. So the
storages are joined instead, and the dashboard's own list of studies and its comparison work across all of them.
"""

import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy
from optuna.study._study_direction import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from drft.errors import StudyError

Metadata = Mapping[str, str | None]
"""What Optuna records of an artifact: ``artifact_id``, ``filename``, ``mimetype`` and ``encoding``."""

_TRIAL_KEY = re.compile(r"(dashboard:(?:artifacts:)?)(\d+)(:.*)", re.DOTALL)
"""Keys of study attributes in which the dashboard names a trial."""


class MultiStorage(BaseStorage):
    """Shows the studies of several storages; a storage alone keeps the numbers of its studies and trials.

    Args:
        storages: what is joined, each with a prefix that tells studies of the same name apart.
        artifacts: tells the artifacts of a trial, given the place of its storage, its study's name and its number.
        read_only: whether nothing is written: what the dashboard adds to a study is then kept in memory.
    """

    def __init__(
        self,
        storages: Sequence[tuple[str, BaseStorage]],
        artifacts: Callable[[int, str, int], Sequence[Metadata]],
        *,
        read_only: bool = False,
    ) -> None:
        self._prefixes = [prefix for prefix, _ in storages]
        self._storages = [storage for _, storage in storages]
        self._artifacts = artifacts
        self._read_only = read_only
        self._added: dict[int, dict[str, Any]] = {}
        self._study_of: dict[int, str] = {}
        """The names of the studies of trials that were shown."""
        names = Counter(study.study_name for storage in self._storages for study in storage.get_all_studies())
        self._repeated = {name for name, times in names.items() if times > 1}

    # Numbers: the n-th of k storages has every k-th number, from n.

    def outer_id(self, place: int, inner: int) -> int:
        """Return the number under which a study or trial of a storage is shown."""
        return inner * len(self._storages) + place

    def _inner(self, outer: int) -> tuple[int, BaseStorage, int]:
        """Return the place of a storage, the storage, and its own number of a study or trial."""
        inner, place = divmod(outer, len(self._storages))
        return place, self._storages[place], inner

    def _to_change(self, outer: int) -> tuple[BaseStorage, int]:
        if self._read_only:
            raise StudyError("the dashboard is read-only: nothing is written")
        return self._inner(outer)[1:]

    # Studies.

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return all studies, in the order of the storages."""
        return [
            self._shown_study(place, study)
            for place, storage in enumerate(self._storages)
            for study in sorted(storage.get_all_studies(), key=lambda study: study._study_id)
        ]

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the number of a study by its shown name."""
        for study in self.get_all_studies():
            if study.study_name == study_name:
                return study._study_id
        raise KeyError(f"there is no study {study_name!r}")

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the shown name: with the prefix of its storage where another one has a study of that name."""
        place, storage, inner = self._inner(study_id)
        return self._shown_name(place, storage.get_study_name_from_id(inner))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Pass on."""
        _, storage, inner = self._inner(study_id)
        return storage.get_study_directions(inner)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Pass on."""
        _, storage, inner = self._inner(study_id)
        return storage.get_study_user_attrs(inner)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the attributes, and those that are kept in memory."""
        place, storage, inner = self._inner(study_id)
        return self._shown_attributes(place, study_id, storage.get_study_system_attrs(inner))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set it in the storage or, if nothing may be written, in memory."""
        if self._read_only:
            self._added.setdefault(study_id, {})[key] = value
            return
        _, storage, inner = self._inner(study_id)
        storage.set_study_system_attr(inner, self._inner_key(key), value)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Pass on."""
        storage, inner = self._to_change(study_id)
        storage.set_study_user_attr(inner, key, value)

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Refuse.

        Raises:
            StudyError: always.
        """
        raise StudyError("studies are made by `drft-study run`")

    def delete_study(self, study_id: int) -> None:
        """Pass on."""
        storage, inner = self._to_change(study_id)
        storage.delete_study(inner)

    # Trials.

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials (in these states) by number, with their artifacts."""
        place, storage, inner = self._inner(study_id)
        name = storage.get_study_name_from_id(inner)
        trials = storage.get_all_trials(inner, deepcopy=deepcopy, states=states)
        return [self._shown_trial(place, name, trial) for trial in trials]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial with its artifacts."""
        place, storage, inner = self._inner(trial_id)
        trial = storage.get_trial(inner)
        if trial_id not in self._study_of:
            for study in storage.get_all_studies():
                self.get_all_trials(self.outer_id(place, study._study_id), deepcopy=False)
        return self._shown_trial(place, self._study_of[trial_id], trial)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the number under which a trial is shown."""
        place, storage, inner = self._inner(study_id)
        return self.outer_id(place, storage.get_trial_id_from_study_id_trial_number(inner, trial_number))

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Pass on."""
        storage, inner = self._to_change(study_id)
        return self.outer_id(self._inner(study_id)[0], storage.create_new_trial(inner, template_trial))

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Pass on."""
        storage, inner = self._to_change(trial_id)
        storage.set_trial_param(inner, param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Pass on."""
        storage, inner = self._to_change(trial_id)
        return storage.set_trial_state_values(inner, state, values)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Pass on."""
        storage, inner = self._to_change(trial_id)
        storage.set_trial_intermediate_value(inner, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Pass on."""
        storage, inner = self._to_change(trial_id)
        storage.set_trial_user_attr(inner, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Pass on."""
        storage, inner = self._to_change(trial_id)
        storage.set_trial_system_attr(inner, key, value)

    # What is shown of what is stored.

    def _shown_name(self, place: int, name: str) -> str:
        return f"{self._prefixes[place]}{name}" if name in self._repeated else name

    def _shown_study(self, place: int, study: FrozenStudy) -> FrozenStudy:
        study_id = self.outer_id(place, study._study_id)
        return FrozenStudy(
            self._shown_name(place, study.study_name),
            None,
            study.user_attrs,
            self._shown_attributes(place, study_id, study.system_attrs),
            study_id,
            directions=study.directions,
        )

    def _shown_attributes(self, place: int, study_id: int, stored: Mapping[str, Any]) -> dict[str, Any]:
        shown = {_with_trial(key, lambda inner: self.outer_id(place, inner)): value for key, value in stored.items()}
        return shown | self._added.get(study_id, {})

    def _shown_trial(self, place: int, study: str, trial: FrozenTrial) -> FrozenTrial:
        shown = copy.copy(trial)
        shown._trial_id = self.outer_id(place, trial._trial_id)
        self._study_of[shown._trial_id] = study
        metadata = self._artifacts(place, study, trial.number)
        listed = {f"{ARTIFACTS_ATTR_PREFIX}{piece['artifact_id']}": json.dumps(piece) for piece in metadata}
        shown._system_attrs = trial._system_attrs | listed
        return shown

    def _inner_key(self, key: str) -> str:
        return _with_trial(key, lambda outer: self._inner(outer)[2])


def _with_trial(key: str, number: Callable[[int], int]) -> str:
    """Return the key of a study attribute with the number of its trial changed, if it names one."""
    named = _TRIAL_KEY.fullmatch(key)
    return f"{named[1]}{number(int(named[2]))}{named[3]}" if named else key
