"""Networks that a user's function builds: their blocks, weights, trainings and checkpoints, and what is refused."""

import importlib
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from drft.config.trial_config import BackboneConfig, parse_config
from drft.errors import BackboneError, WeightsError
from drft.feature_cache.network import build_network
from drft.models.backbone import build_model, describe_backbone
from drft.models.checkpoint import changed_tensors, load_checkpoint, save_checkpoint
from drft.training.session import TrainingSession
from drft.training.trial import run_trial

MODULE = """
    from torch import nn

    def plain(classes):
        def stage(before, after):
            return nn.Sequential(nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())

        features = nn.Sequential(stage(3, 8), stage(8, 12), stage(12, 16))
        return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes))

    class Named(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.last = nn.Linear(6, classes)  # registered first: the order is that of get_classifier and group_matcher
            self.first = nn.Conv2d(3, 4, 3, 2)
            self.second = nn.Conv2d(4, 6, 3, 2)
            self.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (1.0, 1.0, 1.0)}

        def get_classifier(self):
            return self.last

        def group_matcher(self, coarse=False):
            return {"stem": "^first", "blocks": [("^second", None), ("^last", (99999,))]}

        def forward(self, images):
            return self.last(self.second(self.first(images).relu()).relu().mean((2, 3)))

    def fails(classes):
        raise ValueError("no such file")

    def nothing(classes):
        return None

    def ten(classes):
        return plain(10)

    number = 5
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_networks.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_networks", raising=False)


def config(name: str, **values):
    backbone = {"name": f"own_networks:{name}", "weights": values.pop("weights", "none")}
    short = {"head_phase": {"epochs": 1}, "depth_phase": {"epochs": 2}, "split": {"validation_fraction": 0.33}}
    return parse_config({"backbone": backbone, "image_size": 32, "batch_size": 16, "depth": 2, **short, **values})


@pytest.mark.parametrize("name", ["my_networks:small", "a.b.c:d_e", "_x:_y"])
def test_a_function_is_told_from_a_timm_model(name):
    assert BackboneConfig(name=name).is_function


@pytest.mark.parametrize("name", ["resnet18.a1_in1k", "hf-hub:timm/resnet18", "local-dir:x", "C:\\net", ":f", "m:"])
def test_other_names_are_no_functions(name):
    assert not BackboneConfig(name=name).is_function


def test_layers_are_blocks_and_the_last_linear_layer_is_the_head():
    assert [row.name for row in describe_backbone("own_networks:plain")] == ["0.2", "0.1", "stem"]
    model = build_model(config("plain"), classes=3)
    assert [block.parameters for block in model.blocks] == [
        tuple(f"0.{stage}.{name}" for name in ("0.weight", "1.weight", "1.bias")) for stage in range(3)
    ]
    assert model.log_probabilities(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


def test_timms_methods_name_classifier_blocks_and_normalization():
    model = build_model(config("Named"), classes=3)
    assert [block.parameters[0] for block in model.blocks] == ["first.weight", "second.weight"]
    assert (model.mean, model.std) == ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))


def test_networks_of_equal_seeds_are_equal():
    first, again, other = (build_model(config("plain", seed=seed)).net.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.0.0.weight"], other["0.0.0.weight"])


@pytest.mark.parametrize("name", ["plain", "Named"])
def test_a_training_is_the_same_with_the_feature_cache(name, tiny_dataset, monkeypatch):
    monkeypatch.setattr("drft.feature_cache.features._SECONDS_PER_BYTE", 0.0)  # else it is too cheap to be kept
    plain = TrainingSession(tiny_dataset, device="cpu", cache_size=0)
    cached = TrainingSession(tiny_dataset, device="cpu", cache_size=10**9)
    for depth in (0, 1, 2):
        expected = run_trial(config(name, depth=depth), plain)
        for result in (run_trial(config(name, depth=depth), cached) for _ in range(2)):
            assert [record.val_loss for record in result.records] == [record.val_loss for record in expected.records]


def test_cached_activations_are_not_taken_for_those_of_changed_code(tmp_path):
    def identity():
        return build_network(config("Named"), 3, torch.device("cpu")).identity

    first, again = identity(), identity()
    source = tmp_path / "own_networks.py"
    source.write_text(source.read_text().replace("self.first(images).relu()", "self.first(images).sigmoid()"))
    importlib.reload(sys.modules["own_networks"])
    assert first == again != identity()


def test_a_checkpoint_predicts_as_the_model_did(tmp_path):
    settings = config("plain")
    model = build_model(settings, classes=4)
    with torch.no_grad():
        for parameter in model.net.parameters():
            parameter.add_(0.1)
    save_checkpoint(tmp_path / "best.safetensors", changed_tensors(model.net, model.pretrained), settings, classes=4)
    loaded, _ = load_checkpoint(tmp_path / "best.safetensors")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded.net.eval()(images), model.net.eval()(images))


def test_weights_of_a_file_are_taken_without_the_classifier(tmp_path):
    source = build_model(config("plain", seed=5), classes=7).net.state_dict()
    save_file(dict(source), tmp_path / "weights.safetensors")
    state = build_model(config("plain", weights=str(tmp_path / "weights.safetensors")), classes=3).net.state_dict()
    assert state["3.weight"].shape == (3, 16)
    assert all(torch.equal(state[name], tensor) for name, tensor in source.items() if name.startswith("0."))


@pytest.mark.parametrize("weights", ["embedded", "imagenet", "hub"])
def test_weights_of_timms_networks_are_refused(weights):
    with pytest.raises(WeightsError, match="are of timm's networks: for own_networks:plain, choose none"):
        build_model(config("plain", weights=weights))


@pytest.mark.parametrize(
    ("name", "message"),
    {
        "no_such_module:f": "no_such_module cannot be imported: .*name its folder in PYTHONPATH",
        "own_networks:missing": "the module own_networks has no function missing",
        "own_networks:number": "has no function number",
        "own_networks:fails": r"fails.classes. failed: ValueError: no such file .own_networks.py, line 29",
        "own_networks:nothing": "should return a torch.nn.Module, and returned None",
        "own_networks:ten": "returned a classifier of 10 outputs",
    }.items(),
)
def test_faults_of_the_function_are_told_in_one_line(name, message):
    with pytest.raises(BackboneError, match=message) as caught:
        build_model(parse_config({"backbone": {"name": name, "weights": "none"}}))
    assert "\n" not in str(caught.value)
