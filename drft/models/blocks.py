"""Blocks of a backbone: the ordered layer groups that a fine-tuning freezes or trains.

timm knows the order of every backbone (``group_matcher(coarse=True)``), so blocks are asked for, never
sliced out of ``parameters()``. The classifier (``get_classifier()``) is the head and no block. Norms that
timm groups with the classifier belong to the last block; weights there (a ``conv_head``, an attention
pool) are a block of their own. Every parameter is in exactly one block or in the head.

A depth unfreezes the last blocks. Of these a ``window`` trains only so many, the earliest first, and the ones behind it
stay frozen (surgical fine-tuning, Lee et al. 2023). ``parameters`` says what of a trained block is trained: all of it,
or its vectors, or its weight matrices, whose updates are then of low rank.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from timm.models import group_parameters
from torch import nn

from drft.config.sections import TrainedParameters
from drft.errors import BackboneError
from drft.models.lora import adapter_size

HEAD = -1
"""Block index of the head in per-module tables."""


@dataclass(frozen=True, slots=True)
class Block:
    """One layer group of a backbone."""

    index: int
    """0 is the stem."""
    name: str
    parameters: tuple[str, ...]
    """Names of its parameters in the model."""
    size: int
    """Number of parameters."""


@dataclass(frozen=True, slots=True)
class FreezeRow:
    """One line of a freeze map: what training one block more means."""

    depth: int
    """The depth at which this block is the first one trained."""
    name: str
    parameters: int
    """Parameters of this block."""
    trainable_fraction: float
    """Share of the backbone's parameters that are trained at this depth."""


def list_blocks(model: nn.Module) -> tuple[Block, ...]:
    """Return the blocks of a timm model, stem first, classifier excluded.

    Raises:
        BackboneError: when the model has no layer groups or more than one classifier.
    """
    groups = _backbone_groups(model)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    names = _block_names(model, groups)
    return tuple(
        Block(index, name, tuple(group), sum(sizes[parameter] for parameter in group))
        for index, (name, group) in enumerate(zip(names, groups, strict=True))
    )


def head_module(model: nn.Module) -> nn.Module:
    """Return the classifier of a timm model.

    Raises:
        BackboneError: when it is not one single module, as in distilled models.
    """
    ask = getattr(model, "get_classifier", None)
    head = ask() if callable(ask) else None
    if not isinstance(head, nn.Module):
        raise BackboneError(f"{type(model).__name__} has no single classifier (distilled?): choose another backbone")
    return head


def head_names(model: nn.Module) -> frozenset[str]:
    """Return the state names (parameters and buffers) of the classifier."""
    head = head_module(model)
    tensors = {id(tensor) for tensor in chain(head.parameters(), head.buffers())}
    everything = chain(model.named_parameters(), model.named_buffers())
    return frozenset(name for name, tensor in everything if id(tensor) in tensors)


def trained_blocks(model: nn.Module, depth: int, window: int | None = None) -> tuple[Block, ...]:
    """Return the blocks that are trained at a depth, stem first.

    Args:
        model: a timm model.
        depth: how many blocks, counted from the head, are unfrozen.
        window: how many of these are trained, the earliest first; None for all.

    Raises:
        BackboneError: when the model has fewer blocks.
    """
    blocks = list_blocks(model)
    if not 0 <= depth <= len(blocks):
        raise BackboneError(f"depth {depth}: {_title(model)} has {len(blocks)} blocks, choose 0 to {len(blocks)}")
    return blocks[len(blocks) - depth :][:window]


def trained_names(
    model: nn.Module, depth: int, window: int | None = None, parameters: TrainedParameters = "all"
) -> frozenset[str]:
    """Return the names of the parameters that are trained at a depth, head included.

    Raises:
        BackboneError: when the model has fewer blocks.
    """
    head = head_names(model) & {name for name, _ in model.named_parameters()}
    deep = chain.from_iterable(block.parameters for block in trained_blocks(model, depth, window))
    if parameters == "bias_and_norm":
        return head | {name for name in deep if model.get_parameter(name).ndim <= 1}
    return head | (set(deep) & adaptable_names(model) if parameters == "lora" else frozenset(deep))


def adaptable_names(model: nn.Module) -> frozenset[str]:
    """Return the names of the weights of linear and convolutional layers: those that low-rank updates are made for."""
    layers = (path for path, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d))
    return frozenset(f"{path}.weight" for path in layers)


def set_trainable(
    model: nn.Module, depth: int, window: int | None = None, parameters: TrainedParameters = "all"
) -> None:
    """Let gradients reach what ``trained_names`` names, and nothing else.

    Raises:
        BackboneError: when the model has fewer blocks.
    """
    trained = trained_names(model, depth, window, parameters)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)


def train_mode(model: nn.Module, depth: int, batch_norm: Literal["frozen", "adapt"] = "adapt") -> None:
    """Put trained blocks and head in training mode and every module of frozen blocks in evaluation mode.

    With ``batch_norm="frozen"`` all batch norms of the backbone evaluate, so no running statistic moves.

    Raises:
        BackboneError: when the model has fewer blocks.
    """
    for module, training in training_modes(model, depth, batch_norm).items():
        module.training = training


def training_modes(
    model: nn.Module, depth: int, batch_norm: Literal["frozen", "adapt"] = "adapt", window: int | None = None
) -> dict[nn.Module, bool]:
    """Return for every module whether it is in training mode when a depth is trained, as ``train_mode`` sets it.

    Raises:
        BackboneError: when the model has fewer blocks.
    """
    trained = {HEAD, *(block.index for block in trained_blocks(model, depth, window))}
    return {
        module: not trained.isdisjoint(indices)
        and not (batch_norm == "frozen" and HEAD not in indices and _has_running_statistics(module))
        for module, indices in _module_blocks(model).items()
    }


def trainable_fraction(
    model: nn.Module, depth: int, window: int | None = None, parameters: TrainedParameters = "all", rank: int = 0
) -> float:
    """Return the number of parameters that a depth trains (the head not counted), as a share of the backbone's.

    With ``parameters="lora"`` these are the factors of the updates, of rank ``rank``.

    Raises:
        BackboneError: when the model has fewer blocks.
    """
    names = trained_names(model, depth, window, parameters) - head_names(model)
    tensors = [model.get_parameter(name) for name in names]
    trained = sum(adapter_size(tensor.shape, rank) if parameters == "lora" else tensor.numel() for tensor in tensors)
    return trained / sum(block.size for block in list_blocks(model))


def freeze_map(model: nn.Module) -> tuple[FreezeRow, ...]:
    """Return one row per block, from depth 1 (next to the head) to full depth (the stem)."""
    blocks = list_blocks(model)
    total = sum(block.size for block in blocks)
    rows, trained = [], 0
    for depth, block in enumerate(reversed(blocks), start=1):
        trained += block.size
        rows.append(FreezeRow(depth, block.name, block.size, trained / total))
    return tuple(rows)


def _title(model: nn.Module) -> str:
    cfg = getattr(model, "pretrained_cfg", None) or {}
    return str(cfg.get("architecture") or type(model).__name__)


def _backbone_groups(model: nn.Module) -> list[list[str]]:
    head = head_names(model)
    matcher = getattr(model, "group_matcher", None)
    if matcher is None:
        raise BackboneError(f"{_title(model)} has no layer groups in timm: choose another backbone")
    ordered = group_parameters(model, matcher(coarse=True))
    groups = [[name for name in ordered[key] if name not in head] for key in sorted(ordered)]
    shared_with_head = any(name in head for name in ordered[max(ordered)])
    groups = [group for group in groups if group]
    if shared_with_head and len(groups) > 1 and _only_vectors(model, groups[-1]):
        groups[-2:] = [groups[-2] + groups[-1]]
    lost = {name for name, _ in model.named_parameters()} - head - set(chain.from_iterable(groups))
    if lost:
        raise BackboneError(f"{_title(model)}: timm groups {len(lost)} parameters nowhere: choose another backbone")
    return groups


def _only_vectors(model: nn.Module, names: list[str]) -> bool:
    return all(model.get_parameter(name).ndim <= 1 for name in names)


def _block_names(model: nn.Module, groups: list[list[str]]) -> list[str]:
    """Name each block by the shortest module path that no other block and no head shares."""
    everything = [name for name, _ in model.named_parameters()]
    names = ["stem"]
    for group in groups[1:]:
        weight = next((name for name in group if model.get_parameter(name).ndim > 1), group[0])
        others = set(everything) - set(group)
        names.append(next(path for path in _paths(weight) if not any(_within(other, path) for other in others)))
    return names


def _paths(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def _within(name: str, path: str) -> bool:
    return name == path or name.startswith(path + ".")


def _has_running_statistics(module: nn.Module) -> bool:
    return "running_var" in module._buffers  # batch norm by any name: timm's own, synced, EvoNorm-B


def _module_blocks(model: nn.Module) -> dict[nn.Module, frozenset[int]]:
    """Return the block indices of every module, parameterless ones (dropout, drop-path, activation) included.

    A module whose parameters lie in one block is of that block. One without parameters is of the block around
    it, else of the block registered before it; past the last backbone parameter it is the head's (dropout
    before the classifier). One that spans blocks (a container, the model itself) is of all of them, and trains when any
    of them does.
    """
    of_parameter = {name: block.index for block in list_blocks(model) for name in block.parameters}
    inside = _blocks_inside(model, of_parameter)
    ahead = set(of_parameter)
    before = 0
    blocks: dict[nn.Module, frozenset[int]] = {}
    for path, module in model.named_modules():
        around = inside.get(path) or inside.get(path.rpartition(".")[0], set())
        if path not in inside:
            inside[path] = {before} if len(around) > 1 else set(around)
        blocks[module] = frozenset(inside[path])
        own = {f"{path}.{name}" if path else name for name in module._parameters} & ahead
        ahead -= own
        before = max((of_parameter[name] for name in own), default=before) if ahead else HEAD
    return blocks


def _blocks_inside(model: nn.Module, of_parameter: dict[str, int]) -> dict[str, set[int]]:
    inside: dict[str, set[int]] = {}
    for name, _ in model.named_parameters():
        for path in ("", *_paths(name.rpartition(".")[0])):
            inside.setdefault(path, set()).add(of_parameter.get(name, HEAD))
    return inside
