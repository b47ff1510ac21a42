"""Weight files that others made: names, contents, metadata, and numbers that are none."""

import argparse
import collections
import contextlib
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from drft.config.trial_config import parse_config
from drft.errors import WeightsError
from drft.models.backbone import build_model
from drft.models.blocks import head_names

NAME = "test_resnet"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return timm.create_model(NAME, num_classes=1000).state_dict()


def build(path: Path, **backbone):
    config = parse_config({"backbone": {"name": NAME, "weights": str(path), **backbone}, "image_size": 64})
    return build_model(config)


def assert_reads(path: Path, state: dict[str, torch.Tensor]) -> None:
    net = build(path).net
    own, head = net.state_dict(), head_names(net)
    assert all(torch.equal(own[name], tensor) for name, tensor in state.items() if name not in head)


def assert_refuses(path: Path, message: str, **backbone) -> None:
    with pytest.raises(WeightsError, match=message) as refusal:
        build(path, **backbone)
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)


def prefixed(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def negated(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: -tensor for name, tensor in state.items()}


class Trainer:
    """An object that someone saved with the weights."""

    def __init__(self) -> None:
        self.rate = 0.1


@pytest.mark.parametrize(
    "prefix",
    ["module.", "model.", "0.", "timm_model.", "_orig_mod.", "_orig_mod.module.", "module.model.0.", "net.backbone.",
     "student.encoder.", "ema_model.module."],
)  # fmt: skip
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_common_prefix_is_removed(tmp_path, state, prefix, name):
    path = tmp_path / name
    named = {**prefixed(prefix, state), "decoder.weight": torch.ones(3)}
    safetensors.torch.save_file(named, path) if name.endswith("s") else torch.save(named, path)
    assert_reads(path, state)


def test_the_prefix_of_compiled_parts_is_removed_everywhere(tmp_path, state):
    named = {name.replace("layer2.", "layer2._orig_mod."): tensor for name, tensor in prefixed("model.", state).items()}
    torch.save({"state_dict": named}, tmp_path / "weights.pth")
    assert_reads(tmp_path / "weights.pth", state)


CONTENTS = {
    "arguments": lambda state: {"state_dict": state, "args": argparse.Namespace(lr=0.1), "epoch": 3},
    "numpy numbers": lambda state: {"model": state, "best": np.float64(0.5), "history": np.arange(3)},
    "an object of a module that is not here": lambda state: {"model_state_dict": state, "trainer": Trainer()},
    "an optimizer": lambda state: {
        "state_dict": state,
        "optimizer": torch.optim.Adam([torch.ones(2, requires_grad=True)]).state_dict(),
        "scheduler": {"last_epoch": 3, "weights": [torch.ones(2)]},
    },
    "a default dictionary": lambda state: {"model": state, "log": collections.defaultdict(list, a=[1])},
    "a path and a set": lambda state: {"model": state, "root": Path("/tmp"), "tags": {1, 2}},  # noqa: S108
    "averaged weights": lambda state: {"state_dict": state, "state_dict_ema": negated(state)},
    "averaged weights first": lambda state: {"model_ema": negated(state), "model": state},
    "averaged weights only": lambda state: {"state_dict_ema": state, "epoch": 3},
    "averaged weights only, nested": lambda state: {"ema": {"module": state}, "epoch": 3},
    "parameters": lambda state: {name: torch.nn.Parameter(t, t.is_floating_point()) for name, t in state.items()},
    "another model": lambda state: {"generator": state, "discriminator": {"conv.weight": torch.ones(3)}},
    "dictionaries in dictionaries": lambda state: {"checkpoint": {"model": {"state_dict": prefixed("module.", state)}}},
    "half precision": lambda state: {name: t.half().float().half() for name, t in state.items()},
}  # fmt: skip


@pytest.mark.parametrize("what", CONTENTS)
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_beside(tmp_path, state, what, zipped):
    if what == "half precision":
        state = {name: tensor.half().to(tensor.dtype) for name, tensor in state.items()}
    torch.save(CONTENTS[what](state), tmp_path / "weights.pth.tar", _use_new_zipfile_serialization=zipped)
    assert_reads(tmp_path / "weights.pth.tar", state)


def test_objects_beside_the_weights_are_not_imported(tmp_path, state):
    script = (
        "import sys, torch; sys.path.insert(0, sys.argv[1]); import others;"
        "torch.save({'state_dict': torch.load(sys.argv[2]), 'x': others.Config()}, sys.argv[3])"
    )
    (tmp_path / "others.py").write_text("class Config: pass\n")
    torch.save(dict(state), tmp_path / "state.pth")
    path = tmp_path / "weights.pth"
    subprocess.run([sys.executable, "-c", script, tmp_path, tmp_path / "state.pth", path], check=True)
    assert_reads(path, state)
    assert "others" not in sys.modules


def test_safetensors_under_another_name_are_read(tmp_path, state):
    safetensors.torch.save_file(state, tmp_path / "pytorch_model.bin")
    assert_reads(tmp_path / "pytorch_model.bin", state)


class TestNotDamaged:
    """Only damaged files are called damaged; other messages say what was found and what to do."""

    def test_whole_model(self, tmp_path):
        torch.save(timm.create_model(NAME), tmp_path / "weights.pth")
        assert_refuses(tmp_path / "weights.pth", r"^(?!.*damaged).*save the model's state_dict\(\)")

    def test_program(self, tmp_path):
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "weights.pt")
        assert_refuses(tmp_path / "weights.pt", r"^(?!.*damaged).*TorchScript.*save its state_dict\(\)")

    def test_no_tensors(self, tmp_path):
        torch.save({"epoch": 3, "args": argparse.Namespace()}, tmp_path / "weights.pth")
        assert_refuses(tmp_path / "weights.pth", r"holds no tensors by name but a dict of 'epoch', 'args': save")

    def test_list_of_tensors(self, tmp_path):
        torch.save([torch.ones(2)], tmp_path / "weights.pth")
        assert_refuses(tmp_path / "weights.pth", "holds no tensors by name but a list: save")

    def test_other_names(self, tmp_path, state):
        torch.save({"model": prefixed("net.stage_", state)}, tmp_path / "weights.pth")
        assert_refuses(tmp_path / "weights.pth", r"^(?!.*damaged).*0 of \d+ tensors.*in 'model', such as net.stage_")

    def test_part_below_a_prefix(self, tmp_path, state):
        named = prefixed("model.", {name: tensor for name, tensor in state.items() if "layer4" not in name})
        torch.save({"state_dict": named}, tmp_path / "weights.pth")
        assert_refuses(tmp_path / "weights.pth", r"[1-9]\d* of \d+ tensors.*first that does not: layer4.*--backbone")

    def test_other_shape(self, tmp_path, state):
        torch.save({**state, "conv1.0.weight": torch.ones(1, 2, 3, 4)}, tmp_path / "weights.pth")
        assert_refuses(tmp_path / "weights.pth", r"conv1\.0\.weight, which has the shape \(1, 2, 3, 4\)")

    def test_different_weights_that_fit(self, tmp_path, state):
        torch.save({"student": state, "teacher": negated(state)}, tmp_path / "weights.pth")
        assert_refuses(tmp_path / "weights.pth", "different weights that fit .*, in 'student' and in 'teacher'")

    @pytest.mark.skipif(sys.platform == "win32", reason="no such permissions")
    def test_folder(self, tmp_path):
        assert_refuses(tmp_path, "no such weight file")


class Attack:
    """An object whose unpickling runs a function."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [breakpoint, eval, exec, open, os.system, subprocess.call])
@pytest.mark.parametrize("zipped", [True, False])
def test_files_that_attack_are_refused(tmp_path, function, state, zipped):
    torch.save(
        {"state_dict": state, "run": Attack(function, f"touch {tmp_path / 'marker'}")},
        tmp_path / "weights.pth",
        _use_new_zipfile_serialization=zipped,
    )
    assert_refuses(tmp_path / "weights.pth", r"not a weight file, it would run (builtins|_?io|posix|commands)\.")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("function", [Path.touch, shutil.rmtree, getattr])
def test_functions_beside_the_weights_are_not_run(tmp_path, function, state):
    kept = tmp_path / "kept"
    kept.mkdir()
    torch.save({"state_dict": state, "run": Attack(function, kept, "name")}, tmp_path / "weights.pth")
    before = kept.stat().st_mtime_ns
    if function is Path.touch:  # its name has a dot, which torch does not read
        with contextlib.suppress(WeightsError):
            build(tmp_path / "weights.pth")
    else:
        assert_reads(tmp_path / "weights.pth", state)
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["conv1.0.weight", "layer4.0.bn2.running_var"])
def test_numbers_that_are_none_are_refused_by_name(tmp_path, state, value, name):
    broken = {key: tensor.clone() for key, tensor in state.items()}
    broken[name].view(-1)[-1] = value
    safetensors.torch.save_file(broken, tmp_path / "weights.safetensors")
    assert_refuses(tmp_path / "weights.safetensors", rf"{re.escape(name)} has values that are NaN or infinite")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_tensors_of_other_types_are_no_weights(tmp_path, state, dtype):
    torch.save({**state, "conv1.0.weight": state["conv1.0.weight"].to(dtype)}, tmp_path / "weights.pth")
    assert_refuses(tmp_path / "weights.pth", r"conv1\.0\.weight is (u?int8|int64|bool|complex64), not floating point")


@pytest.mark.parametrize(
    "text",
    ["[0.4, 0.5, 0.6]", "0.4, 0.5, 0.6", "(0.4,0.5,0.6)", "0.4 0.5 0.6", '"[0.4, 0.5, 0.6]"', "[4e-1, .5, 0.60]"],
)
def test_metadata_in_any_notation_are_read(tmp_path, state, text):
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors", {"mean": text, "std": "0.5"})
    model = build(tmp_path / "weights.safetensors")
    assert (model.mean, model.std) == ((0.4, 0.5, 0.6), (0.5, 0.5, 0.5))


@pytest.mark.parametrize("other", [{}, {"format": "pt"}, {"epoch": "nan", "config": "{not JSON"}])
def test_other_metadata_do_not_matter(tmp_path, state, other):
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors", other)
    assert build(tmp_path / "weights.safetensors").mean == timm.get_pretrained_cfg(NAME).mean


BAD_NORMALIZATION = {
    "NaN mean": {"mean": "[NaN, NaN, NaN]", "std": "[0.5, 0.5, 0.5]"},
    "infinite deviation": {"mean": "[0.5, 0.5, 0.5]", "std": "[Infinity, 0.5, 0.5]"},
    "deviation of zero": {"mean": "[0.5, 0.5, 0.5]", "std": "[0, 0.5, 0.5]"},
    "negative deviation": {"mean": "[0.5, 0.5, 0.5]", "std": "[-0.5, 0.5, 0.5]"},
    "mean of bytes": {"mean": "[123.7, 116.3, 103.5]", "std": "[58.4, 57.1, 57.4]"},
    "two channels": {"mean": "[0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"},
    "a word": {"mean": "imagenet", "std": "imagenet"},
    "mean alone": {"mean": "[0.5, 0.5, 0.5]"},
}


@pytest.mark.parametrize("what", BAD_NORMALIZATION)
def test_a_normalization_that_is_none_is_refused_unless_another_is_named(tmp_path, state, what):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(state, path, BAD_NORMALIZATION[what])
    assert_refuses(path, r"(mean|std|deviation).*--normalization imagenet or half")
    assert build(path, normalization="half").std == (0.5, 0.5, 0.5)
