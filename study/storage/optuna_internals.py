"""Everything that this program uses of Optuna without Optuna publishing it.

Each part has a function ``check_...`` that returns why the part does not work with the installed Optuna, or None. Where
it does not work, the callers use published functions instead.
"""

from collections.abc import Container
from functools import cache
from typing import Any

import optuna
from optuna.search_space import IntersectionSearchSpace
from optuna.storages import BaseStorage
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
