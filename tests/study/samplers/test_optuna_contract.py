"""Optuna's own test cases for samplers (``optuna.testing``), run on the samplers of this project.

Left out: ``SingleOnlySamplerTestCase``, since none of these samplers refuses studies with several objectives. The cases
that do not apply to one sampler are named at its class.
"""

import warnings
from collections.abc import Callable, Iterator

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import Trial

from drft.config.trial_config import TrialConfig
from study.samplers.balanced import BalancedSampler
from study.samplers.factory import ExhaustiveSampler, QuasiRandomSampler
from study.space import Space

SPACE = "search: {depth: {type: int, low: 0, high: 4}, dropout: {type: float, low: 0, high: 0.5}}"

MakeSampler = Callable[[], BaseSampler]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
    optuna.logging.set_verbosity(verbosity)


class TestBalancedSampler(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """With TPE for each value of a dimension that the objectives of these cases do not have: all cases apply."""

    @pytest.fixture
    def sampler(self) -> MakeSampler:
        return lambda: BalancedSampler(
            "depth", range(3), lambda index: TPESampler(n_startup_trials=0, multivariate=True, seed=index)
        )


class TestQuasiRandomSampler(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """All cases apply."""

    @pytest.fixture
    def sampler(self) -> MakeSampler:
        space = Space.parse(SPACE, "space.yaml").bind(TrialConfig(), 8)
        return lambda: QuasiRandomSampler(space, seed=0)


def finite(name: str) -> list[Callable[[Trial], float]]:
    """Return the ways to suggest a parameter that has finitely many values."""
    return [
        lambda trial: trial.suggest_int(name, 0, 10),
        lambda trial: trial.suggest_categorical(name, [0, 1, 2]),
        lambda trial: trial.suggest_float(name, 0, 10, step=0.5),
        lambda trial: trial.suggest_int(name, 1, 10, log=True),
    ]


class TestExhaustiveSampler(BasicSamplerTestCase):
    """Not run: cases with endless dimensions, which a grid refuses, and all of ``RelativeSamplerTestCase``.

    The latter draw several parameters together. A grid draws one after another, since conditions may follow.
    """

    @pytest.fixture
    def sampler(self) -> MakeSampler:
        return lambda: ExhaustiveSampler(seed=0)

    # These have endless dimensions in every variant.
    test_nan_objective_value = None
    test_partial_fixed_sampling = None
    test_conditional_parameter_objective = None
    test_dynamic_range_objective = None

    # This one draws a parameter without the one that it depends on, so Optuna's tree of configurations has no place for
    # it.
    test_conditional_sample_independent = None

    # These have endless dimensions in some variants. The other variants are run.

    @pytest.mark.parametrize(
        "distribution", [FloatDistribution(-10, 10, step=0.1), FloatDistribution(-10.2, 10.2, step=0.1)]
    )
    def test_float(self, sampler: MakeSampler, distribution: FloatDistribution) -> None:
        super().test_float(sampler, distribution)

    @pytest.mark.parametrize("suggest_method_x", finite("x"))
    def test_single_parameter_objective(self, sampler: MakeSampler, suggest_method_x: Callable[[Trial], float]) -> None:
        super().test_single_parameter_objective(sampler, suggest_method_x)

    @pytest.mark.parametrize("suggest_method_x", finite("x"))
    @pytest.mark.parametrize("suggest_method_y", finite("y"))
    def test_combination_of_different_distributions_objective(
        self,
        sampler: MakeSampler,
        suggest_method_x: Callable[[Trial], float],
        suggest_method_y: Callable[[Trial], float],
    ) -> None:
        super().test_combination_of_different_distributions_objective(sampler, suggest_method_x, suggest_method_y)


def test_endless_dimensions_are_refused_by_the_grid() -> None:
    """The reason why cases of ``TestExhaustiveSampler`` are left out."""
    study = optuna.create_study(sampler=ExhaustiveSampler(seed=0))
    with pytest.raises(ValueError, match="step"):
        study.ask().suggest_float("x", 0, 1)
