"""Parameter groups with discriminative learning rates, optimizers and schedules; each phase has new ones."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from drft.config.sections import Schedule
from drft.config.trial_config import OptimizerConfig
from drft.models.blocks import Block


def parameter_groups(
    net: nn.Module,
    trained_blocks: Sequence[Block],
    *,
    head_lr: float,
    block_lr: float,
    layer_decay: float,
    factors: Mapping[str, Sequence[nn.Parameter]] = MappingProxyType({}),
    by_layer: bool = False,
) -> list[dict[str, Any]]:
    """Group the trained parameters by learning rate and weight decay, the head first.

    The trained block next to the head learns at ``block_lr``, each earlier one at ``layer_decay`` times the next
    (Howard & Ruder 2018). Vectors (biases and norm parameters) are exempt from weight decay.

    Args:
        net: the model; parameters that require no gradient are in no group.
        trained_blocks: the trained blocks, stem first.
        head_lr: learning rate of the head.
        block_lr: learning rate of the trained block next to the head.
        layer_decay: learning rate of a block as a multiple of the next one's.
        factors: low-rank factors (LoRA) by the name of the weight that they are trained in place of.
        by_layer: whether each layer of the blocks gets its own groups, with its name as ``layer``.
    """
    rate = {
        name: block_lr * layer_decay**distance
        for distance, block in enumerate(reversed(trained_blocks))
        for name in block.parameters
    }
    groups: dict[tuple[float, bool, bool, str], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            layer = name.rpartition(".")[0] if by_layer and name in rate else ""
            key = (rate.get(name, head_lr), name not in rate, parameter.ndim > 1, layer)
            groups.setdefault(key, []).extend(factors.get(name, (parameter,)))
    return [
        {"params": parameters, "lr": lr, "head": head, "layer": layer, **({} if decayed else {"weight_decay": 0.0})}
        for (lr, head, decayed, layer), parameters in sorted(
            groups.items(), key=lambda item: (not item[0][1], -item[0][0])
        )
    ]


def make_optimizer(config: OptimizerConfig, groups: list[dict[str, Any]]) -> Optimizer:
    """Return a new fused optimizer: small networks have many small tensors, and one kernel updates them all."""
    if config.name == "sgd":
        nesterov = config.momentum > 0
        sgd = SGD(
            groups, lr=0.0, momentum=config.momentum, nesterov=nesterov, weight_decay=config.weight_decay, fused=True
        )
        # Fused SGD allocates its momentum in the first step, and leaves it uninitialized if the loss scaler skips that
        # step (torch 2.15). It also takes no group of which gradual unfreezing has frozen a part. Zeros avoid both, and
        # the first momentum is the gradient, as without them.
        for parameter in (parameter for group in sgd.param_groups for parameter in group["params"] if nesterov):
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    return AdamW(groups, lr=0.0, betas=(config.momentum, 0.999), weight_decay=config.weight_decay, fused=True)


def lr_factor(schedule: Schedule, warmup: int, total: int) -> Callable[[int], float]:
    """Return the multiple of the peak learning rate at an update, counted from 0.

    Linear warm-up over the first ``warmup`` of ``total`` updates, then constant or half a cosine down towards 0
    (Loshchilov & Hutter 2017).
    """

    def factor(update: int) -> float:
        if update < warmup:
            return (update + 1) / (warmup + 1)
        if schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (update - warmup) / max(1, total - warmup)))

    return factor


def make_scheduler(
    optimizer: Optimizer, schedule: Schedule, *, warmup_epochs: float, epochs: int, updates_per_epoch: int
) -> LambdaLR:
    """Return the scheduler of a phase; call its ``step`` after every optimizer step."""
    warmup = round(warmup_epochs * updates_per_epoch)
    return LambdaLR(optimizer, lr_factor(schedule, warmup, epochs * updates_per_epoch))


def scale_rates(scheduler: LambdaLR, factors: Mapping[str, float]) -> None:
    """Multiply the learning rate of each layer from the next optimizer step on.

    Args:
        scheduler: its optimizer's groups have the name of their layer.
        factors: by layer; layers that are missing get 1.
    """
    for index, group in enumerate(scheduler.optimizer.param_groups):
        scheduler.base_lrs[index] = group["initial_lr"] * factors.get(group["layer"], 1.0)
        group["lr"] = scheduler.base_lrs[index] * scheduler.lr_lambdas[index](scheduler.last_epoch)


def current_lr(optimizer: Optimizer, *, head: bool) -> float:
    """Return the highest learning rate among the groups of the head, or of the blocks; 0 where there are none."""
    return max((float(group["lr"]) for group in optimizer.param_groups if group["head"] is head), default=0.0)
