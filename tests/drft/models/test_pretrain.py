import math

import pytest
import torch
from safetensors import safe_open

from drft.config import parse_config
from drft.models.backbone import build_model
from drft.models.pretrain import Course, augmented, normalized, pretext_loss, pretext_scores, pretrain, save_backbone
from drft.models.procedural import MAPS, TASKS, render_scenes
from drft.models.weights import EMBEDDED_BACKBONE

COURSES = (Course(size=32, images=16, epochs=1), Course(size=64, images=8, epochs=1))


@pytest.fixture(scope="module")
def net():
    return pretrain(COURSES, seed=1, batch=8)


def test_equal_seeds_pretrain_equal_weights(net):
    again = pretrain(COURSES, seed=1, batch=8)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))


def test_written_backbone_is_whole_small_and_loads_without_its_head(net, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_backbone(path, net.backbone, {"recipe": "a test"})
    config = parse_config({"backbone": {"name": EMBEDDED_BACKBONE, "weights": str(path)}})
    model = build_model(config)
    assert path.stat().st_size < 2_000_000
    assert model.mean == (0.5, 0.5, 0.5)
    torch.testing.assert_close(
        model.pretrained["conv_stem.weight"], net.backbone.conv_stem.weight, atol=1e-3, rtol=1e-3
    )
    with safe_open(path, "pt") as file:
        assert file.metadata()["recipe"] == "a test"
        assert not any(name.startswith("classifier") for name in file.keys())  # noqa: SIM118


def test_guessing_costs_two_and_knowing_less():
    scenes = render_scenes(32, 32, seed=4)
    guess = torch.zeros(32, sum(TASKS.values()))
    means = scenes.maps.mean((0, 2, 3), keepdim=True).expand_as(scenes.maps)
    known = torch.cat(
        [5 * torch.eye(size)[label] for size, label in zip(TASKS.values(), scenes.labels.unbind(1), strict=True)], dim=1
    )
    assert pretext_loss(guess, means, scenes).item() == pytest.approx(2, abs=0.01)
    assert pretext_loss(known, means, scenes).item() < 1.8
    assert pretext_loss(guess, scenes.maps, scenes).item() == pytest.approx(1)


def test_every_task_and_map_is_scored(net):
    scores = pretext_scores(net, render_scenes(64, 64, seed=9))
    assert len(scores) == len(TASKS) + len(MAPS)
    assert all(value <= 1 and math.isfinite(value) for value in scores.values())


def test_maps_turn_with_the_pictures():
    scenes = render_scenes(4, 32, seed=2)
    shown = augmented(scenes, torch.Generator().manual_seed(3))
    gain = shown.pictures.mean((2, 3)) / scenes.pictures.float().mean((2, 3))
    assert gain.min() > 0.5
    assert not torch.equal(shown.maps, scenes.maps)
    torch.testing.assert_close(shown.maps.mean((2, 3)), scenes.maps.mean((2, 3)))
    assert torch.equal(shown.labels, scenes.labels)


def test_batches_keep_their_shape_and_range():
    scenes = render_scenes(4, 32, seed=2)
    batch = normalized(augmented(scenes, torch.Generator().manual_seed(0)).pictures)
    assert batch.shape == (4, 3, 32, 32)
    assert batch.min() >= -1
    assert batch.max() <= 1
