"""Learning rates reach the parameters they are meant for."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drft.config.trial_config import OptimizerConfig, parse_config
from drft.models.backbone import build_model
from drft.models.blocks import set_trainable
from drft.training.optim import current_lr, lr_factor, make_optimizer, make_scheduler, parameter_groups


@pytest.fixture(scope="module")
def model():
    return build_model(parse_config({"backbone": {"name": "test_resnet", "weights": "none"}, "image_size": 64}), 5)


def groups_at(model, depth):
    set_trainable(model.net, depth)
    trained = model.blocks[len(model.blocks) - depth :]
    return parameter_groups(model.net, trained, head_lr=1.0, block_lr=0.1, layer_decay=0.5)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_every_trained_parameter_is_in_exactly_one_group(model, depth):
    grouped = [id(p) for group in groups_at(model, depth) for p in group["params"]]
    trained = {id(p) for p in model.net.parameters() if p.requires_grad}
    assert len(grouped) == len(trained)
    assert set(grouped) == trained


def test_blocks_further_from_the_head_learn_slower(model):
    rate = {id(p): group["lr"] for group in groups_at(model, 3) for p in group["params"]}
    names = dict(model.net.named_parameters())
    found = [{rate[id(names[name])] for name in block.parameters} for block in model.blocks[-3:]]
    assert found == [{0.025}, {0.05}, {0.1}]
    assert {rate[id(p)] for p in model.net.get_classifier().parameters()} == {1.0}


def test_vectors_are_exempt_from_weight_decay(model):
    optimizer = make_optimizer(OptimizerConfig(weight_decay=0.3), groups_at(model, 2))
    for group in optimizer.param_groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] == 0.3}


@given(st.sampled_from(["cosine", "constant"]), st.integers(0, 20), st.integers(1, 60))
def test_warm_up_rises_and_the_schedule_never_exceeds_the_peak(schedule, warmup, rest):
    factors = [lr_factor(schedule, warmup, warmup + rest)(update) for update in range(warmup + rest)]
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup] == 1
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_schedules_move_every_group_alike(model, name):
    optimizer = make_optimizer(OptimizerConfig(name=name), groups_at(model, 2))
    scheduler = make_scheduler(optimizer, "cosine", warmup_epochs=0, epochs=2, updates_per_epoch=2)
    assert current_lr(optimizer, head=True) == 1.0
    assert current_lr(optimizer, head=False) == 0.1
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    assert current_lr(optimizer, head=True) == pytest.approx(0.5)
    assert current_lr(optimizer, head=False) == pytest.approx(0.05)


def test_momentum_of_adamw_is_its_first_moment(model):
    optimizer = make_optimizer(OptimizerConfig(momentum=0.7), groups_at(model, 0))
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["betas"][0] for group in optimizer.param_groups} == {0.7}


def test_a_first_step_that_the_loss_scaler_skips_leaves_no_trace():
    found = []
    for gradients in ([float("inf"), 1.0, 2.0], [1.0, 2.0]):
        weight = torch.nn.Parameter(torch.ones(1000))
        group = {"params": [weight], "lr": 0.1}
        optimizer, scaler = make_optimizer(OptimizerConfig(name="sgd"), [group]), torch.amp.GradScaler("cpu")
        for gradient in gradients:
            optimizer.zero_grad()
            scaler.scale((weight * gradient).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        found.append(weight.detach())
    assert torch.equal(*found)
