"""Configurations of Tune become trainings; those that the space does not have are refused, one line for each fault."""

import numpy as np
import pytest

from drft.config.trial_config import TrialConfig
from drft.errors import ConfigError, UsageError
from study.space import Space
from study.tune.configs import bind_space, config_of, run_options

SPACE = {
    "search": {
        "depth": {"type": "int", "low": 0, "high": "all"},
        "head_phase.lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
        "augmentation.strength": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.25},
        "depth_phase.lr": {"type": "float", "low": 1e-4, "high": 1e-2, "when": {"depth": {"min": 1}}},
    },
}
VALUES = {"depth": 2, "head_phase.lr": 1e-3, "augmentation.strength": 0.5, "depth_phase.lr": 2e-3}


@pytest.fixture(scope="module")
def space():
    return Space.load(SPACE).bind(TrialConfig(), 8)


def test_values_are_set_by_their_paths(space):
    config = config_of(space, VALUES)
    assert (config.depth, config.depth_phase.lr, config.augmentation.strength) == (2, 2e-3, 0.5)


def test_values_from_numpy_and_with_errors_of_rounding_are_those_of_the_space(space):
    config = config_of(space, VALUES | {"depth": np.int64(2), "augmentation.strength": 0.25 + 1e-16})
    assert config == config_of(space, VALUES | {"augmentation.strength": 0.25})


def test_an_inactive_dimension_has_no_effect_and_may_be_missing(space):
    shallow = VALUES | {"depth": 0}
    without = {path: value for path, value in shallow.items() if path != "depth_phase.lr"}
    assert config_of(space, shallow) == config_of(space, without)
    assert config_of(space, shallow).depth_phase.lr == TrialConfig().depth_phase.lr


def test_equal_configurations_have_equal_seeds_and_others_have_not(space):
    assert config_of(space, VALUES).seed == config_of(space, dict(VALUES)).seed
    assert config_of(space, VALUES).seed != config_of(space, VALUES | {"depth": 3}).seed
    assert config_of(space, VALUES).seed != config_of(space, VALUES, study_seed=1).seed
    assert config_of(space, VALUES | {"seed": 7}, study_seed=1).seed == 7


def test_every_fault_is_one_line(space):
    wrong = {"depth": 9, "augmentation.strength": 0.3, "depth_phase.rl": 1e-3, "head_phase.lr": "high"}
    with pytest.raises(ConfigError) as error:
        config_of(space, wrong)
    faults = "\n".join(error.value.faults)
    assert "depth_phase.rl: the space space does not search it (did you mean 'depth_phase.lr'?)" in faults
    assert "depth: 9 is not in the space space, which has 0 to 8" in faults
    assert "augmentation.strength: 0.3 is not" in faults
    assert "head_phase.lr: 'high' is not" in faults
    with pytest.raises(ConfigError, match=r"depth_phase.lr: the configuration lacks it"):
        config_of(space, {path: value for path, value in VALUES.items() if path != "depth_phase.lr"})
    for seed in ("x", True, -1, 2**64):
        with pytest.raises(ConfigError, match="seed: should be a whole number"):
            config_of(space, VALUES | {"seed": seed})


def test_unknown_options_and_trials_of_several_folds_are_refused():
    with pytest.raises(UsageError, match=r"study.tune has no option 'backbones' \(did you mean 'backbone'"):
        run_options("quick", "synthetic", {"backbones": "resnet18"})
    with pytest.raises(UsageError, match=r"split.folds: Tune stops a trial at an epoch"):
        bind_space(run_options({**SPACE, "fixed": {"split.folds": 3, "split.fold": None}}, "synthetic", {}))


def test_a_backbone_that_cannot_use_the_images_is_refused_before_any_training():
    backbone = {"backbone": "crossvit_tiny_240", "weights": "none"}
    options = run_options({**SPACE, "fixed": {"image_size": 64}}, "synthetic", backbone)
    with pytest.raises(UsageError, match="backbone crossvit_tiny_240 cannot be used with images of 64 pixels"):
        bind_space(options, classes=5)
