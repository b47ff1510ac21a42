"""The plan of the finalists: which configurations are cross-validated, and on which folds and seeds."""

from dataclasses import replace

import pytest
import yaml

from drft.config.trial_config import TrialConfig, with_values
from study.results import planned_study
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


@pytest.fixture
def varied(plan):
    """The plan with two more configurations for depth 0."""
    more = ({"dropout": 0.1}, {"dropout": 0.2, "loss.label_smoothing": 0.1})
    return replace(plan, finalists=(plan.finalists[0]._replace(next_best=more), *plan.finalists[1:]))


def test_the_second_round_has_other_settings_on_every_fold(plan, varied):
    settings = [
        (varied.config(index).dropout, varied.config(index).loss.label_smoothing)
        for round_number in range(2)
        for index in varied.indices(round_number, [0])
    ]
    assert settings == [(0, 0), (0, 0), (0, 0), (0.1, 0), (0.2, 0.1), (0.1, 0)]
    others = [index for index in range(varied.size) if varied.locate(index)[2]]
    assert [varied.config(index) for index in others] == [plan.config(index) for index in others]


def test_settings_of_the_second_round_change_neither_folds_nor_seeds(plan, varied):
    for index in range(plan.size):
        one, other = plan.config(index), varied.config(index)
        assert (one.seed, one.split, one.depth) == (other.seed, other.split, other.depth)


@pytest.mark.parametrize("kind", ["plan", "varied"])
def test_a_plan_is_read_as_it_was_written(kind, request):
    plan = request.getfixturevalue(kind)
    again = FinalistsPlan.read(plan.text)
    assert again == plan
    assert again.fingerprint == plan.fingerprint


def test_the_text_of_a_plan_without_other_settings_is_that_of_earlier_versions(plan):
    assert "next_best" not in plan.text


@pytest.mark.parametrize("settings", ["[{dropout: 7}]", "[{drop: 0.1}]", "[0.1]", "dropout"])
def test_damaged_settings_of_the_second_round_are_found_when_the_plan_is_read(varied, settings):
    plan = yaml.safe_load(varied.text)
    plan["finalists"][0]["next_best"] = yaml.safe_load(settings)
    with pytest.raises(planned_study._DAMAGED):
        FinalistsPlan.read(yaml.safe_dump(plan))
