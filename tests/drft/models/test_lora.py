"""Low-rank updates follow the formula, have the right gradients, and do not change the network at the start."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from drft.models.lora import LoRA, adapter_size

LAYERS = {
    "linear": (lambda: nn.Linear(7, 5), (3, 7)),
    "convolution": (lambda: nn.Conv2d(4, 6, 3), (3, 4, 5, 5)),
    "depthwise": (lambda: nn.Conv2d(6, 6, 3, groups=6), (3, 6, 5, 5)),
}


def updates_of(layer: nn.Module, rank: int = 2, alpha: float = 6.0) -> LoRA:
    return LoRA({"weight": layer.weight}, rank, alpha)


@pytest.mark.parametrize("kind", LAYERS)
def test_weights_and_gradients_are_those_of_the_formula(kind):
    make, shape = LAYERS[kind]
    layer, images = make(), torch.randn(shape)
    start = layer.weight.detach().clone()
    layer.weight.grad = torch.ones_like(start)  # left over from another training
    updates = updates_of(layer)
    down, up = updates.factors["weight"]
    with torch.no_grad():
        up.normal_()
    updates.merge()
    with updates.collecting_gradients():
        for part in images.split([1, 2]):  # gradients of micro-batches add up
            layer(part).square().sum().backward()
    assert layer.weight.grad is None

    copies = [factor.detach().clone().requires_grad_() for factor in (down, up)]
    weight = start + 6.0 / 2 * (copies[1] @ copies[0]).view(start.shape)
    torch.testing.assert_close(layer.weight.detach(), weight.detach())
    functional_call(layer, {"weight": weight}, (images,)).square().sum().backward()
    torch.testing.assert_close([down.grad, up.grad], [factor.grad for factor in copies], rtol=1e-4, atol=1e-4)


def test_the_network_is_unchanged_at_the_start():
    layer = nn.Conv2d(4, 6, 3)
    before = layer.weight.detach().clone()
    updates = updates_of(layer)
    updates.merge()
    assert torch.equal(layer.weight, before)
    assert updates.factors["weight"][0].abs().max() > 0


def test_weights_have_gradients_again_afterwards():
    layer = nn.Linear(3, 2)
    updates = updates_of(layer)
    with pytest.raises(ZeroDivisionError), updates.collecting_gradients():
        raise ZeroDivisionError
    layer(torch.ones(1, 3)).sum().backward()
    assert layer.weight.grad is not None
    assert updates.factors["weight"][0].grad is None


def test_a_frozen_weight_is_not_changed():
    layer = nn.Linear(3, 2)
    updates = updates_of(layer)
    layer.weight.requires_grad_(False)
    version = layer.weight._version
    with updates.collecting_gradients():
        layer(torch.ones(1, 3)).sum().backward()
    updates.merge()
    assert layer.weight._version == version
    assert updates.factors["weight"][0].grad is None


def test_a_rank_is_at_most_that_of_the_weight():
    assert adapter_size((5, 7), 3) == 3 * (5 + 7)
    assert adapter_size((6, 1, 3, 3), 64) == 6 * (6 + 9)
    assert [tuple(factor.shape) for factor in updates_of(nn.Linear(7, 5), rank=64).factors["weight"]] == [
        (5, 7),
        (5, 5),
    ]
