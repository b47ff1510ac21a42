"""Predictions for single images equal those of the training."""

import numpy as np
import pytest
import torch

from drft.config.trial_config import parse_config, with_values
from drft.data.images import decode
from drft.errors import DataError, WeightsError
from drft.inference import predict_images
from drft.models.checkpoint import load_checkpoint, save_checkpoint
from drft.training.trial import run_trial

CONFIG = parse_config(
    {
        "image_size": 32,
        "depth": 1,
        "backbone": {"name": "test_resnet", "weights": "none"},
        "head_phase": {"epochs": 1},
        "depth_phase": {"epochs": 2},
    }
)


@pytest.fixture(scope="module")
def result(tiny_dataset):
    return run_trial(CONFIG, tiny_dataset)


@pytest.fixture(scope="module")
def model(result, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "best.safetensors"
    save_checkpoint(path, result.best_state, CONFIG, classes=5)
    return load_checkpoint(path)[0]


def test_predictions_equal_those_of_the_training(tiny_dataset, result, model):
    stored = result.predictions["validation"]
    paths = {image.id: image.path for image in tiny_dataset.images}
    predicted = predict_images(model, 32, [paths[name] for name in stored.ids], device=torch.device("cpu"))
    assert predicted == pytest.approx(stored.probabilities[result.best.step - 1].astype(np.float32), abs=2e-3)


def test_no_image_depends_on_the_others(tiny_dataset, model):
    paths = [image.path for image in tiny_dataset.images]
    together = predict_images(model, 32, paths)
    assert together.shape == (60, 5)
    assert predict_images(model, 32, paths[40:41])[0] == pytest.approx(together[40], abs=1e-6)


def test_an_ensemble_predicts_the_mean_and_decodes_each_image_once(tiny_dataset, model, tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "other.safetensors", {}, with_values(CONFIG, {"seed": 1}), classes=5)
    members = [model, load_checkpoint(tmp_path / "other.safetensors")[0]]
    paths = [image.path for image in tiny_dataset.images]
    alone = [predict_images(member, 32, paths) for member in members]
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    decoded = []
    monkeypatch.setattr("drft.inference.decode", lambda path, **size: decoded.append(path) or decode(path, **size))
    assert np.array_equal(predict_images(members, 32, paths), np.mean(alone, axis=0))
    assert sorted(decoded) == sorted(paths)


def test_every_file_that_cannot_be_decoded_is_named(tiny_dataset, model, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        predict_images(model, 32, [tmp_path / "a.png", tiny_dataset.images[0].path, tmp_path / "b.png"])
    assert [line.split()[0] for line in caught.value.faults] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def test_paths_may_be_texts_and_one_path_is_no_list(tiny_dataset, model):
    path = tiny_dataset.images[0].path
    expected = predict_images(model, 32, [path])
    np.testing.assert_array_equal(predict_images(model, 32, iter([str(path)])), expected)
    for one in (path, str(path)):
        with pytest.raises(DataError, match="images to predict should be a list of paths, not one path: write"):
            predict_images(model, 32, one)


@pytest.mark.parametrize("tensor", ["fc.weight", "fc.bias", "layer4.0.bn1.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_prediction_that_is_not_finite_is_an_error(tiny_dataset, model, tensor, value):
    changed = model.net.state_dict()[tensor]
    before = changed.clone()
    changed.fill_(value)
    with pytest.raises(WeightsError, match="predicts numbers that are NaN or infinite"):
        predict_images(model, 32, [tiny_dataset.images[0].path])
    changed.copy_(before)


def test_files_that_cannot_be_decoded_do_not_stop_the_others(tiny_dataset, model, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    paths = [image.path for image in tiny_dataset.images]
    faults = []
    predicted = predict_images(model, 32, [*paths[:35], tmp_path / "a.png", *paths[35:]], faults=faults)
    assert np.isnan(predicted[35]).all()
    assert np.delete(predicted, 35, axis=0) == pytest.approx(predict_images(model, 32, paths), abs=1e-6)
    assert [fault.split()[0] for fault in faults] == [str(tmp_path / "a.png")]
