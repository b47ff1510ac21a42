"""What a confirmation trains."""

import json

import pytest
from optuna.trial import TrialState

from drft.config.trial_config import TrialConfig, with_values
from drft.errors import StudyError
from study.results.confirmation_plan import ConfirmationPlan, _at_possible_depth, make_plan
from study.results.study_results import read_study
from study.space.seeds import trial_seed

CHANCE = {"seed", "split", "augmentation"}


@pytest.fixture(scope="module")
def study(demo):
    return read_study("demo", demo)


@pytest.fixture(scope="module")
def plan(study):
    return make_plan(study, top=3, seeds=4)


def test_the_best_completed_trials_are_planned_beside_the_base_configuration(study, plan):
    best = study.complete.head(3)
    assert [one.trial for one in plan.candidates] == [None, *best["number"]]
    assert [one.sweep_accuracy for one in plan.candidates[1:]] == list(best["val_accuracy_best"])
    assert plan.candidates[0].config == TrialConfig.model_validate(study.info.base_config)
    told = json.loads(study.place.open().trials[int(best["number"][0])].user_attrs["config"])
    assert plan.candidates[1].config.model_dump(exclude=CHANCE) == TrialConfig(**told).model_dump(exclude=CHANCE)


def test_every_draw_is_fresh_and_the_same_for_all(study, plan):
    assert plan.size == 16
    by_draw = {}
    for place in range(plan.size):
        config, (draw, _) = plan.config(place), plan.at(place)
        by_draw.setdefault(draw, set()).add((config.seed, config.split.seed, config.augmentation.seed))
    assert {len(chance) for chance in by_draw.values()} == {1}
    seeds = [next(iter(chance))[:2] for chance in by_draw.values()]
    assert len(set(seeds)) == 4
    used = {trial_seed(study.info.seed, number) for number in study.trials["number"]} | {study.info.split["seed"]}
    assert not used & {seed for pair in seeds for seed in pair}


def test_a_plan_is_read_as_it_was_written(plan):
    again = ConfirmationPlan.read(plan.text)
    assert again == plan
    assert again.fingerprint == plan.fingerprint


def test_equal_configurations_are_retrained_once(make_study, tmp_path):
    results = make_study(tmp_path, states=[TrialState.COMPLETE] * 3)
    study = read_study("demo", results)
    opened = study.place.open()
    best = opened.trials[int(study.complete["number"][0])]
    opened.add_trial(best)
    plan = make_plan(read_study("demo", results), top=3, seeds=1)
    assert [one.trial for one in plan.candidates[1:]] == list(study.complete["number"])


def test_more_than_there_is_cannot_be_confirmed(study, make_study, tmp_path):
    with pytest.raises(StudyError, match="--top asks for 99"):
        make_plan(study, top=99, seeds=1)
    make_study(tmp_path, states=[TrialState.PRUNED, TrialState.FAIL])
    with pytest.raises(StudyError, match="has 0 different completed trials"):
        make_plan(read_study("demo", tmp_path), top=1, seeds=1)


def test_a_study_without_test_images_has_nothing_to_open(make_study, tmp_path):
    split = {"n_train": 330, "n_validation": 83, "n_test": 0, "seed": 0, "validation_fraction": 0.2}
    make_study(tmp_path, split=json.dumps(split))
    with pytest.raises(StudyError, match="no test images"):
        make_plan(read_study("demo", tmp_path), top=1, seeds=1)


@pytest.mark.parametrize(("window", "depth", "at"), [(None, 2, 2), (None, 9, 4), (3, 2, 3), (3, 9, 4)])
def test_the_base_configuration_is_planned_at_a_depth_that_it_can_have(window, depth, at):
    base = with_values(TrialConfig(), {"depth": depth, "depth_phase.window": window})
    assert _at_possible_depth(base, blocks=4).depth == at
