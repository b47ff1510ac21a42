"""A sampler of the user, whose errors are told in one line."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from drft.errors import ConfigError
from drft.own_function import call_function, one_line_for_own_code
from study.space import BoundSpace

_OPTION = "--sampler"


class OwnSampler(BaseSampler):
    """The sampler that a function of the user returns.

    Args:
        name: ``module:function``.
        space: what is searched, the function's first argument.
        seed: its second argument.

    Raises:
        ConfigError: from all methods, in one line, when the user's code fails.
    """

    def __init__(self, name: str, space: BoundSpace, seed: int) -> None:
        self._name = name
        arguments = {"space": space, "seed": seed}
        self._sampler: BaseSampler = call_function(
            name, arguments, BaseSampler, "an optuna.samplers.BaseSampler", _OPTION, ConfigError
        )

    def _call(self, method: str) -> AbstractContextManager[None]:
        return one_line_for_own_code(self._name, f"{method} of the sampler", _OPTION, ConfigError)

    def reseed_rng(self) -> None:
        """Reseed the sampler."""
        with self._call("reseed_rng"):
            self._sampler.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Pass the start of a trial on."""
        with self._call("before_trial"):
            self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the dimensions that the sampler draws together."""
        with self._call("infer_relative_search_space"):
            return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw these dimensions together."""
        with self._call("sample_relative"):
            return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one dimension."""
        with self._call("sample_independent"):
            return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Pass the end of a trial on."""
        with self._call("after_trial"):
            self._sampler.after_trial(study, trial, state, values)
