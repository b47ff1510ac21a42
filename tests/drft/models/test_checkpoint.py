import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch

from drft.config.trial_config import TrialConfig, parse_config, with_values
from drft.errors import WeightsError
from drft.models.backbone import build_model
from drft.models.blocks import set_trainable, train_mode, trained_names
from drft.models.checkpoint import changed_tensors, load_checkpoint, save_checkpoint, save_model


@pytest.fixture
def config() -> TrialConfig:
    return parse_config({"backbone": {"name": "test_resnet", "weights": "none"}, "image_size": 32, "depth": 1})


@pytest.fixture
def trained(config):
    """A model after two steps at depth 1 (in the first, norms with weights of zero stop some gradients)."""
    model = build_model(config, classes=4)
    set_trainable(model.net, 1)
    train_mode(model.net, 1, "adapt")
    optimizer = torch.optim.SGD([p for p in model.net.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        torch.nn.functional.cross_entropy(model.net(torch.randn(4, 3, 32, 32)), torch.arange(4)).backward()
        optimizer.step()
    return model


def test_only_changed_tensors_are_returned(trained):
    names = set(changed_tensors(trained.net, trained.pretrained))
    assert names >= trained_names(trained.net, 1)
    assert "layer4.0.bn1.running_mean" in names
    assert not any(name.startswith(("conv1", "layer1", "layer2", "layer3")) for name in names)


def test_the_head_is_returned_even_if_nothing_changed(config):
    model = build_model(config)
    assert set(changed_tensors(model.net, model.pretrained)) == {"fc.weight", "fc.bias"}


def test_changed_tensors_are_copies(trained):
    state = changed_tensors(trained.net, trained.pretrained)
    before = state["fc.weight"].copy()
    with torch.no_grad():
        trained.net.fc.weight.add_(1)
    np.testing.assert_array_equal(state["fc.weight"], before)


def test_loaded_checkpoint_predicts_as_the_model_did(tmp_path, config, trained):
    path = tmp_path / "deep" / "best.safetensors"
    save_checkpoint(path, changed_tensors(trained.net, trained.pretrained), config, classes=4)
    loaded, loaded_config = load_checkpoint(str(path))
    images = torch.randn(2, 3, 32, 32)
    assert loaded_config == config
    with torch.no_grad():
        assert torch.equal(loaded.net.eval()(images), trained.net.eval()(images))


def test_only_the_checkpoint_is_written(tmp_path, config):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, {"fc.bias": np.zeros(5, np.float32)}, config, classes=5)
    assert list(tmp_path.iterdir()) == [path]


def test_saving_needs_no_torch(tmp_path):
    program = (
        "import sys; from pathlib import Path; import numpy as np; from drft.config.trial_config import TrialConfig;"
        "from drft.models.checkpoint import save_checkpoint;"
        f"save_checkpoint(Path({str(tmp_path)!r}) / 'x.safetensors', {{'a': np.zeros(2)}}, TrialConfig(), 5);"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


@pytest.mark.parametrize(
    ("state", "metadata", "message"),
    [
        ({"fc.bias": np.zeros(3, np.float32)}, None, "not a checkpoint"),
        ({"fc.bias": np.zeros(3, np.float32)}, {"drft_schema": "99"}, "not a checkpoint"),
        ({}, {"drft_schema": "1", "config": "{}"}, "configuration cannot be read"),
        ({}, {"drft_schema": "1", "config": '{"no": 1}', "classes": "5"}, "configuration cannot be read"),
    ],
)
def test_other_safetensors_files_are_refused(tmp_path, state, metadata, message):
    path = tmp_path / "best.safetensors"
    safetensors.numpy.save_file(state, path, metadata)
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(path)


def test_tensors_that_do_not_fit_are_refused(tmp_path, config):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, {"fc.bias": np.zeros(3, np.float32), "what": np.zeros(1)}, config, classes=5)
    with pytest.raises(WeightsError, match=r"2 tensors do not fit test_resnet"):
        load_checkpoint(path)


def test_missing_and_damaged_checkpoints_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "nowhere.safetensors")
    with pytest.raises(WeightsError, match=r"is a folder: name a \.safetensors file"):
        load_checkpoint(tmp_path)
    path = tmp_path / "best.safetensors"
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(WeightsError, match="damaged"):
        load_checkpoint(path)


def test_a_whole_model_needs_no_other_weights(tmp_path, config, trained):
    path = tmp_path / "model.safetensors"
    gone = with_values(config, {"backbone.weights": str(tmp_path / "gone.safetensors")})
    model = dataclasses.replace(trained, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    save_model(path, model, gone, classes=4)
    loaded, loaded_config = load_checkpoint(path)
    images = torch.randn(2, 3, 32, 32)
    assert loaded_config == gone
    assert (loaded.mean, loaded.std) == (model.mean, model.std)
    with torch.no_grad():
        assert torch.equal(loaded.net.eval()(images), trained.net.eval()(images))


def test_a_whole_model_that_lacks_tensors_is_refused(tmp_path, config, trained):
    path = tmp_path / "model.safetensors"
    save_model(path, trained, config, classes=4)
    with safetensors.safe_open(path, "np") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del tensors["conv1.0.weight"]
    safetensors.numpy.save_file(tensors, path, metadata)
    with pytest.raises(WeightsError, match=r"1 tensors do not fit test_resnet \(first: conv1"):
        load_checkpoint(path)


def rewrite(path, change, metadata=None):
    """Write a checkpoint again with changed tensors and metadata."""
    with safetensors.safe_open(path, "np") as file:
        known, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors)
    safetensors.numpy.save_file(tensors, path, known | (metadata or {}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["fc.weight", "layer4.0.bn1.running_var", "conv1.0.weight"])
def test_numbers_that_are_none_are_refused_by_name(tmp_path, config, trained, value, name):
    path = tmp_path / "model.safetensors"
    save_model(path, trained, config, classes=4)
    rewrite(path, lambda tensors: tensors[name].__setitem__(..., value))
    with pytest.raises(WeightsError, match=rf"model\.safetensors: {name} has values that are NaN or infinite"):
        load_checkpoint(path)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "bool"])
def test_tensors_of_other_types_are_refused(tmp_path, config, trained, kind):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, changed_tensors(trained.net, trained.pretrained), config, classes=4)
    rewrite(path, lambda tensors: tensors.update({"fc.weight": np.ones_like(tensors["fc.weight"]).astype(kind)}))
    with pytest.raises(WeightsError, match=rf"fc\.weight is {kind}, not float32"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "normalization",
    [
        "[[NaN, 0, 0], [1, 1, 1]]",
        "[[0, 0, 0], [1, 1, Infinity]]",
        "[[0, 0, 0], [1, 0, 1]]",
        "[[0, 0], [1, 1, 1]]",
        "[[0], 1]",
    ],
)
def test_a_normalization_that_is_none_is_refused(tmp_path, config, trained, normalization):
    path = tmp_path / "model.safetensors"
    save_model(path, trained, config, classes=4)
    rewrite(path, lambda tensors: None, {"normalization": normalization})
    with pytest.raises(WeightsError, match=r"of its inputs are none|its configuration cannot be read"):
        load_checkpoint(path)
