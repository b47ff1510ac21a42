"""One sub-study for each value of a dimension, all in one Optuna study and with equal budgets.

A sampler that looks for the best trial spends few trials on depths that started badly, so the best of each depth
would be the best of unequally many. Here every value gets a sampler of its own, which sees that value's trials
only, and the value with the fewest trials so far is served next.
"""

from collections import Counter
from collections.abc import Callable, Container, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from study.space import Value


class IsolatingSampler(BaseSampler):
    """Gives each value of one dimension its own sampler and equally many trials.

    Args:
        path: the dimension.
        values: all its values.
        make: returns the sampler of the value at an index of ``values``.
    """

    def __init__(self, path: str, values: Sequence[Value], make: Callable[[int], BaseSampler]) -> None:
        self._path = path
        self._samplers = {value: make(index) for index, value in enumerate(values)}
        self._served: dict[int, tuple[Value, ValueStudy]] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return what the value's own sampler models together, without the isolated dimension."""
        value, part = self._serve(study, trial)
        space = self._samplers[value].infer_relative_search_space(part, trial)
        return {path: distribution for path, distribution in space.items() if path != self._path}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the value's own sampler."""
        value, part = self._serve(study, trial)
        return self._samplers[value].sample_relative(part, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the value that is served, or ask its own sampler."""
        value, part = self._serve(study, trial)
        if param_name == self._path:
            return value
        return self._samplers[value].sample_independent(part, trial, param_name, param_distribution)

    def _serve(self, study: optuna.Study, trial: FrozenTrial) -> tuple[Value, "ValueStudy"]:
        """Return the trial's value, settled once for each trial, and the part of the study that has it."""
        if trial.number not in self._served:
            value = _given(trial, self._path)
            if value not in self._samplers:
                value = self._neediest(study, trial)
            self._served = {trial.number: (value, ValueStudy(study, self._path, value))}
        return self._served[trial.number]

    def _neediest(self, study: optuna.Study, trial: FrozenTrial) -> Value:
        """Return the value with the fewest trials; a trial that is run again counts once.

        Of several the last one: of depths the deepest, so that a study ends with short trials and slots end together.
        """
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        replaced = {other.user_attrs.get("retry_of") for other in others}
        counts = Counter(_given(other, self._path) for other in others if other.number not in replaced)
        return min(reversed(self._samplers), key=lambda value: counts[value])


class ValueStudy(optuna.Study):
    """The trials of a study that share one value of one dimension."""

    def __init__(self, study: optuna.Study, path: str, value: Value) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self._path = path
        self._value = value

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = super()._get_trials(deepcopy, states, use_cache)
        return [trial for trial in trials if trial.params.get(self._path) == self._value]


def _given(trial: FrozenTrial, path: str) -> Value:
    """Return the value a trial has, or will have since it was queued with it."""
    value: Value = trial.params.get(path, trial.system_attrs.get("fixed_params", {}).get(path))
    return value
