import math

import pytest
import torch
from safetensors import safe_open

from drft.config.trial_config import parse_config
from drft.models.backbone import build_model
from drft.models.weights import EMBEDDED_BACKBONE
from tools.pretrain.pretrain import augmented, normalized, pretext_accuracy, pretext_loss, pretrain, save_backbone
from tools.pretrain.procedural import TASKS, render_scenes


@pytest.fixture(scope="module")
def net():
    return pretrain(16, 1, seed=1, batch=8)


def test_equal_seeds_pretrain_equal_weights(net):
    again = pretrain(16, 1, seed=1, batch=8).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in net.state_dict().items())


def test_written_backbone_is_whole_small_and_loads_without_its_head(net, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_backbone(path, net, {"recipe": "a test"})
    config = parse_config({"backbone": {"name": EMBEDDED_BACKBONE, "weights": str(path)}})
    model = build_model(config)
    assert path.stat().st_size < 2_000_000
    assert model.mean == (0.5, 0.5, 0.5)
    torch.testing.assert_close(model.pretrained["conv_stem.weight"], net.conv_stem.weight, atol=1e-3, rtol=1e-3)
    with safe_open(path, "pt") as file:
        assert file.metadata()["recipe"] == "a test"
        assert not any(name.startswith("classifier") for name in file.keys())  # noqa: SIM118


def test_guessing_has_loss_one_and_correct_answers_less():
    labels = torch.zeros(4, len(TASKS), dtype=torch.long)
    guess = torch.zeros(4, sum(TASKS.values()))
    known = torch.cat([torch.eye(size)[:1].expand(4, -1) * 5 for size in TASKS.values()], dim=1)
    assert pretext_loss(guess, labels).item() == pytest.approx(1)
    assert pretext_loss(known, labels).item() < 0.8


def test_accuracy_is_measured_per_task(net):
    accuracy = pretext_accuracy(net, render_scenes(16, 96, seed=9))
    assert list(accuracy) == list(TASKS)
    assert all(0 <= value <= 1 and math.isfinite(value) for value in accuracy.values())


def test_batches_keep_their_shape_and_range():
    images = render_scenes(4, 32, seed=2).images
    batch = normalized(augmented(images, torch.Generator().manual_seed(0)))
    assert batch.shape == (4, 3, 32, 32)
    assert batch.min() >= -1
    assert batch.max() <= 1
