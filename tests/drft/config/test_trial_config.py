"""TrialConfig reports all unknown settings at once, and every path in it can be set."""

import numpy as np
import pytest
import torch

from drft.config.trial_config import LARGEST_SEED, TrialConfig, config_paths, parse_config, with_values
from drft.data.augment import draw_view
from drft.errors import ConfigError


def test_unknown_keys_and_bad_values_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_config({"dept": 3, "depth_phase": {"lr": -1.0, "learning_rate": 0.1}, "augmentation": {"strength": 0.3}})
    text = str(caught.value)
    assert len(caught.value.faults) == 4
    assert "dept: unknown setting (did you mean 'depth'?)" in text
    assert "depth_phase.lr: input should be greater than 0, got -1.0" in text
    assert "depth_phase.learning_rate: unknown setting" in text
    assert "augmentation.strength" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_numbers_are_refused(value):
    with pytest.raises(ConfigError, match=r"depth_phase\.lr"):
        with_values(TrialConfig(), {"depth_phase.lr": value})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 2**64),
        ("augmentation.seed", 2**64),
        ("head_phase.warmup_epochs", 1e308),
        ("depth_phase.warmup_epochs", 1e308),
        ("depth_phase.lora_alpha", 1e300),
    ],
)
def test_numbers_that_no_training_can_use_are_refused(path, value):
    with pytest.raises(ConfigError, match=rf"^{path}: input should be less than or equal to \d+, got "):
        with_values(TrialConfig(), {path: value})


def test_the_largest_seed_draws_views_and_random_numbers_of_torch():
    config = with_values(TrialConfig(), {"seed": LARGEST_SEED, "augmentation.seed": LARGEST_SEED})
    assert TrialConfig.model_validate_json(config.model_dump_json()) == config
    assert len(draw_view(config.augmentation.seed, np.arange(2), 1)) == 2
    torch.Generator().manual_seed(config.seed)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"depth": 1, "depth.x": 1}, "depth.x: depth has a value of its own; keep one of the two"),
        ({"depth.x": 1, "depth": 1}, "depth.x: depth has a value of its own; keep one of the two"),
        ({"depth_phase.lr": 1.0, "depth_phase": {"epochs": 2}}, "depth_phase.lr: depth_phase has a value of its own"),
    ],
)
def test_a_path_that_is_part_of_another_is_refused_in_any_order(values, fault):
    with pytest.raises(ConfigError, match=fault):
        with_values(TrialConfig(), values)


def test_values_replace_those_of_a_base():
    base = with_values(TrialConfig(), {"depth_phase.lr": 0.5, "depth": 4})
    changed = with_values(base, {"depth_phase.epochs": 9})
    assert (changed.depth_phase.lr, changed.depth_phase.epochs, changed.depth) == (0.5, 9, 4)
    assert base.depth_phase.epochs == TrialConfig().depth_phase.epochs


def test_every_path_is_documented_and_survives_json():
    assert TrialConfig.model_validate_json(TrialConfig().model_dump_json()) == TrialConfig()
    schema = TrialConfig.model_json_schema()
    for path in config_paths():
        part = schema
        for name in path.split(".")[:-1]:
            part = schema["$defs"][part["properties"][name]["$ref"].split("/")[-1]]
        assert part["properties"][path.split(".")[-1]]["description"], path


def test_configurations_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        TrialConfig().depth = 3


@pytest.mark.parametrize(
    ("split", "fault"),
    [
        ({"fold": 1}, "split: fold 1 needs folds: set the number of folds"),
        ({"folds": 3, "fold": 3}, "split: fold 3 should be below folds, which is 3: folds are counted from 0"),
        ({"folds": 3, "validation_fraction": 0.3}, "split: validation_fraction is not used with folds"),
    ],
)
def test_contradicting_settings_of_folds_are_refused(split, fault):
    with pytest.raises(ConfigError, match=fault):
        parse_config({"split": split})
