"""The plan of a confirmation: which configurations are retrained, on which seeds and splits."""

import json

import pytest
from optuna.trial import TrialState

from drft.config.trial_config import TrialConfig, with_values
from drft.errors import StudyError
from study.results.confirmation_plan import ConfirmationPlan, at_possible_depth, make_plan
from study.results.study_results import read_study
from study.space.seeds import trial_seed

SEEDED = {"seed", "split", "augmentation"}


@pytest.fixture(scope="module")
def study(demo):
    return read_study("demo", demo)


@pytest.fixture(scope="module")
def plan(study):
    return make_plan(study, top=3, seeds=4)


def test_the_base_configuration_and_the_best_completed_trials_are_planned(study, plan):
    best = study.complete.head(3)
    assert [candidate.trial for candidate in plan.candidates] == [None, *best["number"]]
    assert [candidate.sweep_accuracy for candidate in plan.candidates[1:]] == list(best["val_accuracy_best"])
    assert plan.candidates[0].config == TrialConfig.model_validate(study.info.base_config)
    config = json.loads(study.location.open().trials[int(best["number"][0])].user_attrs["config"])
    assert plan.candidates[1].config.model_dump(exclude=SEEDED) == TrialConfig(**config).model_dump(exclude=SEEDED)


def test_seeds_and_splits_are_new_and_the_same_for_all_candidates(study, plan):
    assert plan.size == 16
    seeds_of_pair = {}
    for index in range(plan.size):
        config, (pair, _) = plan.config(index), plan.locate(index)
        seeds_of_pair.setdefault(pair, set()).add((config.seed, config.split.seed, config.augmentation.seed))
    assert {len(seeds) for seeds in seeds_of_pair.values()} == {1}
    seeds = [next(iter(seeds))[:2] for seeds in seeds_of_pair.values()]
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
    opened = study.location.open()
    best = opened.trials[int(study.complete["number"][0])]
    opened.add_trial(best)
    plan = make_plan(read_study("demo", results), top=3, seeds=1)
    assert [candidate.trial for candidate in plan.candidates[1:]] == list(study.complete["number"])


def test_top_above_the_number_of_completed_trials_is_refused(study, make_study, tmp_path):
    with pytest.raises(StudyError, match="--top is 99"):
        make_plan(study, top=99, seeds=1)
    make_study(tmp_path, states=[TrialState.PRUNED, TrialState.FAIL])
    with pytest.raises(StudyError, match="has 0 different completed trials"):
        make_plan(read_study("demo", tmp_path), top=1, seeds=1)


def test_a_study_without_test_images_cannot_be_confirmed(make_study, tmp_path):
    split = {"n_train": 330, "n_validation": 83, "n_test": 0, "seed": 0, "validation_fraction": 0.2}
    make_study(tmp_path, split=json.dumps(split))
    with pytest.raises(StudyError, match="no test images"):
        make_plan(read_study("demo", tmp_path), top=1, seeds=1)


@pytest.mark.parametrize(("window", "depth", "expected"), [(None, 2, 2), (None, 9, 4), (3, 2, 3), (3, 9, 4)])
def test_the_base_configuration_is_planned_at_the_nearest_possible_depth(window, depth, expected):
    base = with_values(TrialConfig(), {"depth": depth, "depth_phase.window": window})
    assert at_possible_depth(base, blocks=4).depth == expected
