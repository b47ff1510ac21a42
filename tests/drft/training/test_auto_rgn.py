"""Auto-RGN: factors by hand, and learning rates that follow them through the schedule."""

import math

import pytest
import torch
from torch import nn

from drft.config.trial_config import OptimizerConfig, parse_config
from drft.errors import NonFiniteLossError
from drft.training.auto_rgn import relative_gradient_norms
from drft.training.optim import make_optimizer, make_scheduler, scale_rates
from drft.training.session import TrainingSession
from drft.training.trainer import Trainer


def group(layer: str, *values: list[float], frozen: bool = False) -> dict[str, object]:
    tensors = [nn.Parameter(torch.tensor(each), requires_grad=not frozen) for each in values]
    return {"params": tensors, "lr": 0.1, "head": False, "layer": layer}


def test_factors_are_relative_to_the_weights_and_to_the_largest():
    weight, bias, other = group("a", [3.0]), group("a", [4.0]), group("b", [1.0, 0.0])
    groups = [group("", [1.0]), weight, bias, other, group("c", [0.0]), group("d", [1.0], frozen=True)]

    def loss(scale: float) -> torch.Tensor:
        a, b, c = weight["params"][0], bias["params"][0], other["params"][0]
        return scale * (6 * a + 8 * b).sum() + c.sum()  # |g| of a: 10 and 30 over |w| 5; of b: √2 over 1

    found = relative_gradient_norms(groups, [loss(1), loss(3)])
    assert found == pytest.approx({"a": 1.0, "b": 2**0.5 / 4})
    assert relative_gradient_norms(groups, [8 * loss(1), 8 * loss(3)]) == pytest.approx(found)


def test_layers_without_any_gradient_keep_their_rates():
    groups = [group("a", [1.0])]
    assert relative_gradient_norms(groups, [groups[0]["params"][0].sum() * 0]) == {}
    assert relative_gradient_norms([group("", [1.0])], []) == {}


def test_rates_are_scaled_anew_and_follow_the_schedule():
    optimizer = make_optimizer(OptimizerConfig(), [group("", [1.0]), group("a", [1.0]), group("b", [1.0])])
    scheduler = make_scheduler(optimizer, "cosine", warmup_epochs=0, epochs=2, updates_per_epoch=2)

    def rates() -> list[float]:
        return [each["lr"] for each in optimizer.param_groups]

    scale_rates(scheduler, {"a": 0.5})
    assert rates() == pytest.approx([0.1, 0.05, 0.1])
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    assert rates() == pytest.approx([0.05, 0.025, 0.05])
    scale_rates(scheduler, {"a": 1.0, "b": 0.2})
    assert rates() == pytest.approx([0.05, 0.05, 0.01])


def test_a_gradient_that_is_not_finite_gives_no_factor():
    groups = [group("a", [1.0]), group("b", [1.0])]
    a, b = (each["params"][0].sum() for each in groups)
    assert all(map(math.isnan, relative_gradient_norms(groups, [a + b, a * math.inf + b]).values()))


@pytest.fixture
def trainer_with(tiny_dataset, monkeypatch):
    """Return a trainer whose loss scaler begins with some scale; the CPU has float32 alone, which it can overflow."""
    session = TrainingSession(tiny_dataset, device="cpu", cache_size=0)
    values = {"image_size": 32, "batch_size": 6, "backbone": {"name": "test_resnet", "weights": "none"}}
    config = parse_config({**values, "precision": "fp32", "depth_phase": {"epochs": 1, "auto_rgn": True}})

    def make(scale: float) -> Trainer:
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        monkeypatch.setattr("drft.training.trainer.loss_scaler", lambda *_: scaler)
        return Trainer(session.prepare(config), "depth")

    return make


def test_a_loss_scale_that_overflows_is_lowered_as_in_a_step(trainer_with):
    plain = trainer_with(1.0)
    expected = plain.train_epoch(1)
    high = trainer_with(2.0**127)
    assert high.train_epoch(1) == pytest.approx(expected)
    assert 1 < high.scaler.get_scale() < 2.0**127


def test_a_gradient_that_no_scale_makes_finite_ends_the_training(trainer_with):
    trainer = trainer_with(2.0)
    with torch.no_grad():
        next(trainer.context.model.net.get_classifier().parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteLossError, match="lower learning rate"):
        trainer.train_epoch(1)
