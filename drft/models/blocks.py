"""Blocks of a backbone: the ordered layer groups that a fine-tuning freezes or trains.

The order comes from timm (``group_matcher(coarse=True)``), since that of ``parameters()`` is not reliable. Models
without such groups are divided at the stages that timm takes features from (``feature_info``); networks that are not
timm's, at their layers. The classifier (``get_classifier()``, else the last linear layer) is the head and no block;
distilled models have two. Norms that timm groups with the classifier belong to the last block; weights in that group (a
``conv_head``, an attention pool) are a block of their own. Every parameter is in exactly one block or in the head.

A depth unfreezes the last blocks. With a ``window`` only that many of them are trained, the earliest first, and the
blocks after them stay frozen (surgical fine-tuning, Lee et al. 2023). ``parameters`` selects what is trained in these
blocks: all parameters, only the vectors, or only the weight matrices, by low-rank updates.
"""

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
    """Position in the backbone; 0 is the stem."""
    name: str
    """Shortest module path that no other block has in common with it."""
    parameters: tuple[str, ...]
    """Names of its parameters in the model."""
    size: int
    """Number of parameters."""


@dataclass(frozen=True, slots=True)
class FreezeRow:
    """One row of a freeze map: the effect of training one more block."""

    depth: int
    """The lowest depth at which this block is trained."""
    name: str
    parameters: int
    """Parameters of this block."""
    trainable_fraction: float
    """Share of the backbone's parameters that is trained at this depth."""


def list_blocks(model: nn.Module) -> tuple[Block, ...]:
    """Return the blocks of a timm model, stem first, without the classifier.

    Raises:
        BackboneError: when the model has no layer groups or no classifier.
    """
    groups = _backbone_groups(model)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    names = _block_names(model, groups)
    return tuple(
        Block(index, name, tuple(group), sum(sizes[parameter] for parameter in group))
        for index, (name, group) in enumerate(zip(names, groups, strict=True))
    )


def head_modules(model: nn.Module) -> tuple[nn.Module, ...]:
    """Return the classifier of a model; distilled models have two, and their output is the mean of both.

    It is what ``get_classifier()`` returns, as timm's models have it, else the last linear layer.

    Raises:
        BackboneError: when the model has none.
    """
    get_classifier = getattr(model, "get_classifier", None)
    if callable(get_classifier):
        found = get_classifier()
    else:
        found = [module for module in model.modules() if isinstance(module, nn.Linear)][-1:]
    heads = tuple(found) if isinstance(found, tuple | list) else (found,)
    if not heads or not all(isinstance(head, nn.Module) for head in heads):
        raise BackboneError(f"{type(model).__name__} has no classifier: choose another backbone")
    return heads


def head_names(model: nn.Module) -> frozenset[str]:
    """Return the state names (parameters and buffers) of the classifier."""
    heads = head_modules(model)
    tensors = {id(tensor) for head in heads for tensor in chain(head.parameters(), head.buffers())}
    named = chain(model.named_parameters(), model.named_buffers())
    return frozenset(name for name, tensor in named if id(tensor) in tensors)


def trained_blocks(model: nn.Module, depth: int, window: int | None = None) -> tuple[Block, ...]:
    """Return the blocks that are trained at a depth, stem first.

    Args:
        model: a timm model.
        depth: number of unfrozen blocks, counted from the head.
        window: number of trained blocks among them, the earliest first; None for all.

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
    in_blocks = frozenset(name for block in trained_blocks(model, depth, window) for name in block.parameters)
    if parameters == "bias_and_norm":
        return head | {name for name in in_blocks if model.get_parameter(name).ndim <= 1}
    return head | (in_blocks & adaptable_names(model) if parameters == "lora" else in_blocks)


def adaptable_names(model: nn.Module) -> frozenset[str]:
    """Return the names of the weights of linear and convolutional layers, which can have low-rank updates."""
    layers = (path for path, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d))
    return frozenset(f"{path}.weight" for path in layers)


def set_trainable(
    model: nn.Module, depth: int, window: int | None = None, parameters: TrainedParameters = "all"
) -> None:
    """Require gradients for the parameters that ``trained_names`` returns, and for no others.

    Raises:
        BackboneError: when the model has fewer blocks.
    """
    trained = trained_names(model, depth, window, parameters)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)


def train_mode(model: nn.Module, depth: int, batch_norm: Literal["frozen", "adapt"] = "adapt") -> None:
    """Put trained blocks and head in training mode, and all modules of frozen blocks in evaluation mode.

    With ``batch_norm="frozen"`` all batch norms of the backbone are in evaluation mode, so that no running statistic
    changes.

    Raises:
        BackboneError: when the model has fewer blocks.
    """
    for module, training in training_modes(model, depth, batch_norm).items():
        module.training = training


def training_modes(
    model: nn.Module, depth: int, batch_norm: Literal["frozen", "adapt"] = "adapt", window: int | None = None
) -> dict[nn.Module, bool]:
    """Return the mode of every module when a depth is trained, as ``train_mode`` sets it; True is training mode.

    Raises:
        BackboneError: when the model has fewer blocks.
    """
    trained = {HEAD, *(block.index for block in trained_blocks(model, depth, window))}
    return {
        module: not trained.isdisjoint(indices)
        # batch norms of all kinds have running_var: torch's, timm's own, synchronized ones, EvoNorm-B
        and not (batch_norm == "frozen" and HEAD not in indices and hasattr(module, "running_var"))
        for module, indices in _module_blocks(model).items()
    }


def trainable_fraction(
    model: nn.Module, depth: int, window: int | None = None, parameters: TrainedParameters = "all", rank: int = 0
) -> float:
    """Return the number of trained parameters at a depth as a share of the backbone's; the head is not counted.

    With ``parameters="lora"`` the factors of the low-rank updates, of rank ``rank``, are counted.

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
    """Return the parameter names of each block, stem first."""
    head = head_names(model)
    ordered = _layer_groups(model)
    groups = [[name for name in ordered[key] if name not in head] for key in sorted(ordered)]
    shared_with_head = any(name in head for name in ordered[max(ordered)])
    groups = [group for group in groups if group]
    if not groups:
        raise BackboneError(f"{_title(model)} has no layers before its classifier: choose another backbone")
    if shared_with_head and len(groups) > 1 and all(model.get_parameter(name).ndim <= 1 for name in groups[-1]):
        groups[-2:] = [groups[-2] + groups[-1]]  # a final norm is no block
    missing = {name for name, _ in model.named_parameters()} - head - set(chain.from_iterable(groups))
    if missing:
        raise BackboneError(f"{_title(model)}: timm groups {len(missing)} parameters nowhere: choose another backbone")
    return groups


def _layer_groups(model: nn.Module) -> dict[int, list[str]]:
    """Return the parameter names of timm's layer groups; where it has none, of the stages that it takes features from.

    Networks without either, which are not timm's, are divided at their layers.
    Parameters before the first stage are the stem; parameters between and after the stages belong to the stage before.
    """
    if matcher := getattr(model, "group_matcher", None):
        try:
            patterns = matcher(coarse=True)
        except AssertionError:  # of models with fine groups alone, such as RDNet
            patterns = matcher(coarse=False)
        groups: dict[int, list[str]] = group_parameters(model, patterns)
        return groups
    stages = [str(info["module"]) for info in getattr(model, "feature_info", [])]
    if not stages:
        return _registered_layers(model)
    index, groups = 0, {}
    for name, _ in model.named_parameters():
        index = next((number for number, stage in enumerate(stages, 1) if name.startswith(f"{stage}.")), index)
        groups.setdefault(index, []).append(name)
    return groups


def _registered_layers(model: nn.Module) -> dict[int, list[str]]:
    """Return the parameter names of each layer of a network, in the order in which it registers them.

    Sequences and lists of modules are divided into their members. A layer without matrices (a norm) belongs to the one
    before it.
    """
    groups: dict[int, list[str]] = {}
    layer = ""
    for name, parameter in model.named_parameters():
        if not layer or not name.startswith(f"{layer}."):
            path, *members = name.split(".")
            while members[1:] and isinstance(model.get_submodule(path), nn.Sequential | nn.ModuleList):
                path = f"{path}.{members.pop(0)}"
            layer = path
            whole = model.get_submodule(path).parameters() if members else [parameter]
            if not groups or any(tensor.ndim > 1 for tensor in whole):
                groups[len(groups)] = []
        groups[len(groups) - 1].append(name)
    return groups


def _block_names(model: nn.Module, groups: list[list[str]]) -> list[str]:
    """Return for each block the shortest module path that holds no parameter of another block or of the head."""
    all_names = {name for name, _ in model.named_parameters()}
    names = ["stem"]
    for group in groups[1:]:
        weight = next((name for name in group if model.get_parameter(name).ndim > 1), group[0])
        used = {path for other in all_names.difference(group) for path in _paths(other)}
        names.append(next(path for path in _paths(weight) if path not in used))
    return names


def _paths(name: str) -> list[str]:
    """Return a dotted name and the paths of all modules around it, the outermost first."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _module_blocks(model: nn.Module) -> dict[nn.Module, frozenset[int]]:
    """Return the block indices of every module, also of those without parameters (dropout, drop-path, activation).

    A module whose parameters are in one block belongs to that block. A module without parameters belongs to the block
    of the module around it; if that one spans several blocks, to the block registered before it. After the last
    parameter of the backbone it belongs to the head (dropout before the classifier). A module that spans blocks (a
    container, the model itself) belongs to all of them, and trains when any of them does.
    """
    block_of = {name: block.index for block in list_blocks(model) for name in block.parameters}
    indices: dict[str, set[int]] = {}
    for name, _ in model.named_parameters():
        for path in ("", *_paths(name)[:-1]):
            indices.setdefault(path, set()).add(block_of.get(name, HEAD))
    remaining, previous = set(block_of), 0
    blocks: dict[nn.Module, frozenset[int]] = {}
    for path, module in model.named_modules():
        if path not in indices:
            parent = indices[path.rpartition(".")[0]]
            indices[path] = {previous} if len(parent) > 1 else set(parent)
        blocks[module] = frozenset(indices[path])
        own = {f"{path}.{name}" if path else name for name, _ in module.named_parameters(recurse=False)} & remaining
        remaining -= own
        previous = max((block_of[name] for name in own), default=previous) if remaining else HEAD
    return blocks
