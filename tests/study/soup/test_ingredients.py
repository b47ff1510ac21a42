"""Which trials can be combined."""

import shutil

import numpy as np
import pytest
from optuna.trial import TrialState

from drft.config.trial_config import with_values
from drft.errors import StudyError
from drft.models.checkpoint import read_checkpoint, save_checkpoint
from study.results.study_results import read_study
from study.soup.ingredients import find_ingredients


def test_trials_that_cannot_be_averaged_are_left_out_with_the_reason(trained_study, tmp_path):
    shutil.copytree(trained_study, tmp_path / "results")
    study = read_study("real", tmp_path / "results")
    order = [int(number) for number in study.complete["number"]]
    path = study.checkpoint_file(order[-1])
    stored = read_checkpoint(path)
    state = {name: tensor.numpy() for name, tensor in stored.tensors.items()}
    save_checkpoint(path, state, with_values(stored.config, {"image_size": 48}), stored.classes)
    ingredients, left_out = find_ingredients(study, 3)
    assert [ingredient.trial for ingredient in ingredients] == order[:2]
    assert left_out == [(order[-1], f"its image_size is 48, not 32 as that of trial {order[0]}")]
    path.unlink()
    assert "was not kept" in find_ingredients(study, 3)[1][0].reason
    with pytest.raises(StudyError, match="has 1 completed trials that can be combined, two are needed"):
        find_ingredients(study, 1)


def test_trials_from_random_weights_cannot_be_averaged(make_study, tiny_config, tmp_path):
    make_study(tmp_path, "random", states=[TrialState.COMPLETE])
    study = read_study("random", tmp_path)
    path = study.checkpoint_file(0)
    path.parent.mkdir(parents=True)
    save_checkpoint(path, {"fc.bias": np.zeros(5, np.float32)}, tiny_config("none"), 5)
    with pytest.raises(StudyError, match="other random weights"):
        find_ingredients(study, 2)


def test_trials_whose_split_changes_cannot_be_combined(make_study, tmp_path):
    make_study(tmp_path, "deep", states=[TrialState.COMPLETE] * 2, goal="depth")
    study = read_study("deep", tmp_path)
    study.trials["block"] = [0, 1]
    with pytest.raises(StudyError, match=r"cannot be combined: .* validate on different images; "):
        find_ingredients(study, 2)
