"""The plan of the finalists: which configurations are cross-validated, and on which folds and seeds."""

import pytest

from drft.config.trial_config import TrialConfig, with_values
from study.results.finalists_plan import UNTUNED, Finalist, FinalistsPlan


@pytest.fixture
def plan():
    configs = [with_values(TrialConfig(), {"depth": depth, "early_stopping.patience": 2}) for depth in (0, 3)]
    finalists = [Finalist(f"depth {config.depth}", config.depth, 7, 0.6, config) for config in configs]
    return FinalistsPlan("demo", 5, 100, 3, 2, (*finalists, Finalist(UNTUNED, 2, None, None, TrialConfig())))


def test_every_finalist_is_trained_on_every_fold_of_every_round(plan):
    assert plan.size == 2 * 3 * 3
    assert sorted(plan.indices(0, range(3)) + plan.indices(1, range(3))) == list(range(plan.size))
    assert {plan.locate(index) for index in plan.indices(1, [2])} == {(1, fold, 2) for fold in range(3)}


def test_finalists_have_the_same_folds_and_seeds(plan):
    seeds = {}
    for index in range(plan.size):
        config, (turn, fold, position) = plan.config(index), plan.locate(index)
        assert config.depth == plan.finalists[position].config.depth
        assert (config.split.folds, config.split.fold) == (3, fold)
        seeds.setdefault((turn, fold), set()).add((config.seed, config.split.seed))
    assert {len(values) for values in seeds.values()} == {1}
    assert len({seed for values in seeds.values() for seed, _ in values}) == 6  # one for each training of a finalist
    assert len({split for values in seeds.values() for _, split in values}) == 2  # one for each round


def test_all_folds_train_equally_long(plan):
    assert {plan.config(index).early_stopping.patience for index in range(plan.size)} == {0}


def test_a_plan_is_read_as_it_was_written(plan):
    again = FinalistsPlan.read(plan.text)
    assert again == plan
    assert again.fingerprint == plan.fingerprint
