"""Everything that this program uses of Optuna without Optuna publishing it.

Each part has a function ``check_...`` that returns why the part does not work with the installed Optuna, or None. Where
it does not work, the callers use published functions instead.
"""

import re
from collections.abc import Callable, Container
from functools import cache
from typing import Any

import optuna
from optuna.search_space import IntersectionSearchSpace
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState


class FilteredStorage:
    """The storage of a study, with only those trials that have one value of one parameter.

    Samplers read trials through ``BaseStorage.get_all_trials``, so a study on this storage shows them these trials
    alone. All other calls go to the study's own storage, for instance to store what a sampler remembers of a trial.
    """

    def __init__(self, storage: BaseStorage, parameter: str, value: object) -> None:
        self._storage = storage
        self._parameter = parameter
        self._value = value

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials that have the value."""
        trials = self._storage.get_all_trials(study_id, deepcopy, states)
        return [trial for trial in trials if trial.params.get(self._parameter) == self._value]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


def filter_study(study: optuna.Study, parameter: str, value: object) -> optuna.Study:
    """Return a study with only those trials that have this value of a parameter.

    Unpublished: ``Study._storage``.
    """
    storage: Any = FilteredStorage(study._storage, parameter, value)
    return optuna.load_study(study_name=study.study_name, storage=storage, sampler=study.sampler, pruner=study.pruner)


@cache
def check_filter_study() -> str | None:
    """Return why ``filter_study`` does not work with the installed Optuna, or None if it works."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else Optuna logs that a study was created
    try:
        study = optuna.create_study()
        for value in (0, 1):
            trial = study.ask()
            trial.suggest_int("parameter", value, value)
            trial.suggest_int(f"only with {value}", 0, 0)
            study.tell(trial, 0.0)
        view = filter_study(study, "parameter", 1)
        # The search space that samplers infer must be that of the one trial, not what both trials have in common.
        works = len(view.trials) == 1 and len(IntersectionSearchSpace().calculate(view)) == 2
    except Exception as error:  # noqa: BLE001 (a changed Optuna can raise anything)
        return f"Optuna {optuna.__version__} has no study of selected trials ({type(error).__name__}: {error})"
    finally:
        optuna.logging.set_verbosity(verbosity)
    return None if works else f"samplers of Optuna {optuna.__version__} do not read trials through the storage"


_TRIAL_KEY = re.compile(r"(dashboard:(?:artifacts:)?)(\d+)(:.*)", re.DOTALL)


def renumber_trial(key: str, new_id: Callable[[int], int]) -> str:
    """Return the key of a study attribute with another trial id where it names a trial.

    Optuna's dashboard keeps the note of a trial in attributes of its study, such as ``dashboard:7:note_ver``. A trial
    that is shown under another id needs another key.

    Unpublished: the form of these keys.
    """
    parts = _TRIAL_KEY.fullmatch(key)
    return f"{parts[1]}{new_id(int(parts[2]))}{parts[3]}" if parts else key


@cache
def check_renumber_trial() -> str | None:
    """Return why ``renumber_trial`` does not work with the installed Optuna dashboard, or None if it works."""
    import optuna_dashboard  # noqa: PLC0415 (slow, and needed for the dashboard only)

    storage = InMemoryStorage()
    study = optuna.create_study(study_name="check", storage=storage)
    study_id = storage.get_study_id_from_name("check")
    trials = [study.ask() for _ in range(2)]
    ids = [storage.get_trial_id_from_study_id_trial_number(study_id, trial.number) for trial in trials]
    optuna_dashboard.save_note(trials[0], "note")
    for key, value in storage.get_study_system_attrs(study_id).items():
        storage.set_study_system_attr(study_id, renumber_trial(key, lambda _: ids[1]), value)
    if optuna_dashboard.get_note(trials[1]) == "note":
        return None
    return f"Optuna's dashboard {optuna_dashboard.__version__} keeps the notes of trials under unknown keys"
