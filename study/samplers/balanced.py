"""Equal numbers of trials for all values of one dimension, such as the depth.

A sampler that looks for the best trial spends few trials on depths that started badly, so depths would be compared by
unequal numbers of trials.
"""

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, PartialFixedSampler
from optuna.trial import FrozenTrial, TrialState

from study.space import Value
from study.storage.optuna_internals import check_study_view, study_view


class BalancedSampler(BaseSampler):
    """Gives each value of one dimension the same number of trials; Optuna's samplers draw the other dimensions.

    The next trial gets the value with the fewest trials so far.

    Args:
        path: name of the dimension.
        values: all its values.
        make: returns a new sampler for the value at an index of ``values``.
        reach: from how many values on each side the trials are seen when a value is drawn for. With 0, each value has a
            sampler of its own, which learns from the trials with that value only; else they share one. Where the
            installed Optuna does not allow such a view of a study (``check_study_view``), all trials are seen.
    """

    def __init__(
        self, path: str, values: Sequence[Value], make: Callable[[int], BaseSampler], *, reach: int = 0
    ) -> None:
        self._path = path
        inner = [make(0)] * len(values) if reach else [make(index) for index in range(len(values))]
        self._samplers = {
            value: PartialFixedSampler({path: value}, sampler) for value, sampler in zip(values, inner, strict=True)
        }
        self._seen = {
            value: frozenset(values[max(0, index - reach) : index + reach + 1]) for index, value in enumerate(values)
        }
        self._current: tuple[int, BaseSampler, optuna.Study] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the view of a study, which pickle cannot store: Ray Tune stores its searchers."""
        return {**self.__dict__, "_current": None}

    def reseed_rng(self) -> None:
        """Reseed the samplers of all values."""
        for sampler in self._samplers.values():
            sampler.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Pass the start of a trial to the sampler of its value."""
        sampler, _ = self._select(study, trial)
        sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the dimensions that the value's sampler draws together, without the balanced one."""
        sampler, view = self._select(study, trial)
        return sampler.infer_relative_search_space(view, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw these dimensions together with the value's sampler."""
        sampler, view = self._select(study, trial)
        return sampler.sample_relative(view, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the trial's value of the balanced dimension, or draw another one with the value's sampler."""
        sampler, view = self._select(study, trial)
        return sampler.sample_independent(view, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Pass the end of a trial to the sampler of its value."""
        sampler = self._samplers.get(_assigned_value(trial, self._path))
        if sampler is not None:
            sampler.after_trial(study, trial, state, values)

    def _select(self, study: optuna.Study, trial: FrozenTrial) -> tuple[BaseSampler, optuna.Study]:
        """Return the sampler of the trial's value, and the trials it learns from.

        Both are the same in all calls for one trial, although its value is in ``trial.params`` only after it was
        suggested.
        """
        if self._current is None or self._current[0] != trial.number:
            value = _assigned_value(trial, self._path)
            if value not in self._samplers:
                value = self._value_with_fewest_trials(study, trial)
            seen = self._seen[value]

            def comparable(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
                return [other for other in remove_difficulty(trials) if _assigned_value(other, self._path) in seen]

            view = study if check_study_view() else study_view(study, comparable)
            self._current = (trial.number, self._samplers[value], view)
        return self._current[1:]

    def _value_with_fewest_trials(self, study: optuna.Study, trial: FrozenTrial) -> Value:
        """Return the value with the fewest other trials; a trial and its retries count as one.

        Of several such values, the last one is returned: for depths the deepest. The trials at the end of a study are
        then short ones, so that all workers finish at about the same time.
        """
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        retried = {other.user_attrs.get("retry_of") for other in others}
        counts = Counter(_assigned_value(other, self._path) for other in others if other.number not in retried)
        return min(reversed(self._samplers), key=lambda value: counts[value])


def remove_difficulty(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials with scores less the difficulty of their block, that is of the split that it trained on.

    The splits of blocks differ by as much as good settings from bad ones. The difficulty of a block is the mean score
    of its trials less that of all, shrunken as if one more trial of it had the mean score. Trials without a block or a
    score stay as they are.
    """
    scores: dict[int, list[float]] = defaultdict(list)
    for trial in trials:
        if "block" in trial.user_attrs and (score := _score(trial)) is not None:
            scores[trial.user_attrs["block"]].append(score)
    mean = float(np.mean([score for block in scores.values() for score in block])) if scores else 0.0
    difficulty = {block: sum(score - mean for score in values) / (len(values) + 1) for block, values in scores.items()}
    return [_shifted(trial, -difficulty.get(trial.user_attrs.get("block", -1), 0.0)) for trial in trials]


def _score(trial: FrozenTrial) -> float | None:
    """Return the score of a completed trial, or the best one of a pruned trial so far."""
    if trial.state == TrialState.PRUNED:
        return max(trial.intermediate_values.values(), default=None)
    return trial.value if trial.state == TrialState.COMPLETE else None


def _shifted(trial: FrozenTrial, difference: float) -> FrozenTrial:
    """Return a trial with a difference added to its scores."""
    if not difference or _score(trial) is None:
        return trial
    shifted = copy.copy(trial)
    if trial.value is not None:
        shifted.value = trial.value + difference
    shifted.intermediate_values = {step: value + difference for step, value in trial.intermediate_values.items()}
    return shifted


def _assigned_value(trial: FrozenTrial, path: str) -> Value:
    """Return a trial's value of a dimension: the suggested one, else the one it was queued with, else None."""
    queued = trial.system_attrs.get("fixed_params", {})  # where Study.enqueue_trial keeps the parameters
    value: Value = trial.params.get(path, queued.get(path))
    return value
