"""Checkpoints: the tensors that a training changed, with its configuration.

A checkpoint holds only the tensors that differ from the pretrained weights, so at depth 0 it takes a few kilobytes.
Loading it needs the same pretrained weights again. ``save_model`` writes a file that needs no other weights: it holds
all tensors and the normalization of the inputs. ``load_checkpoint`` reads both kinds.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from drft.config.trial_config import TrialConfig, with_values
from drft.errors import WeightsError
from drft.files.atomic import whole_file
from drft.models.variant import Variant

if TYPE_CHECKING:  # the tuner process saves checkpoints and must not import torch
    from torch import Tensor, nn

    from drft.models.backbone import Model

_SCHEMA = "1"

Channels = tuple[float, float, float]


class StoredCheckpoint(NamedTuple):
    """The content of a checkpoint file."""

    tensors: dict[str, "Tensor"]
    config: TrialConfig
    classes: int
    normalization: tuple[Channels, Channels] | None
    """Mean and standard deviation of the inputs if the file holds all tensors; None if only the changed ones."""
    variant: Variant
    """How the network of a file that holds all tensors differs from timm's."""
    names: tuple[str, ...]
    """Names of the classes; empty if the file has none, as files of version 0.1."""
    members: int
    """Networks of the model that the file is a part of; 0 if the file does not say, as those of earlier versions."""


def changed_tensors(net: "nn.Module", pretrained: Mapping[str, "Tensor"]) -> dict[str, NDArray[np.generic]]:
    """Return copies of the tensors that differ from the pretrained state, and always of those of the head."""
    import torch  # noqa: PLC0415  see TYPE_CHECKING

    from drft.models.blocks import head_names  # noqa: PLC0415

    head = head_names(net)
    return {
        name: tensor.contiguous().numpy().copy()
        for name, tensor in ((name, tensor.cpu()) for name, tensor in net.state_dict().items())
        if name in head or not torch.equal(tensor, pretrained[name])
    }


def save_checkpoint(
    path: Path,
    state: Mapping[str, NDArray[np.generic]],
    config: TrialConfig,
    classes: int,
    names: Sequence[str] = (),
) -> None:
    """Write a checkpoint; the file appears complete or not at all.

    Args:
        path: the ``.safetensors`` file.
        state: tensors by name, such as ``TrialResult.best_state``.
        config: the configuration of the training.
        classes: number of outputs of the head.
        names: of the classes.
    """
    metadata = {"config": config.model_dump_json(), "classes": str(classes)}
    _write(path, state, metadata | _named(names))


def _named(names: Sequence[str]) -> dict[str, str]:
    """Return the metadata that hold the names of classes; none without names, as in files of version 0.1."""
    return {"names": json.dumps(list(names), ensure_ascii=False)} if names else {}


def save_model(
    path: Path, model: "Model", config: TrialConfig, classes: int, names: Sequence[str] = (), *, members: int = 1
) -> None:
    """Write all tensors of a model, so that loading it needs no pretrained weights.

    The file appears complete or not at all.

    Args:
        path: the ``.safetensors`` file.
        model: the model to save.
        config: the configuration of the training.
        classes: number of outputs of the head.
        names: of the classes.
        members: networks of the ensemble that the file is one of; 1 for a model of one network.
    """
    from drft.models.probabilities import learned_tensors  # noqa: PLC0415  see TYPE_CHECKING

    state = {name: tensor.detach().cpu().numpy() for name, tensor in model.net.state_dict().items()}
    metadata = {
        "config": config.model_dump_json(),
        "classes": str(classes),
        "normalization": json.dumps([model.mean, model.std]),
        "variant": model.variant.model_dump_json(),
        "members": str(members),
    }
    _write(path, state | learned_tensors(model.probabilities), metadata | _named(names))


def load_checkpoint(path: Path | str) -> tuple["Model", TrialConfig]:
    """Return the model and the configuration of a checkpoint.

    The model is built with the backbone and the pretrained weights of the configuration; then the tensors of the file
    replace its own. A file of ``save_model`` needs no pretrained weights: the ``pretrained`` tensors of its model are
    random.

    Raises:
        WeightsError: when the file is missing, damaged, not a checkpoint, or does not fit its backbone.
        BackboneError: when timm no longer has the backbone.
    """
    from drft.models.backbone import build_model  # noqa: PLC0415
    from drft.models.probabilities import PREFIX  # noqa: PLC0415  see TYPE_CHECKING

    stored = read_checkpoint(Path(path))
    config, tensors, whole = stored.config, stored.tensors, stored.normalization is not None
    if whole:
        model = build_model(with_values(config, {"backbone.weights": "none"}), stored.classes, variant=stored.variant)
    else:
        model = build_model(config, stored.classes)
    own = model.net.state_dict() | {PREFIX + name: tensor for name, tensor in model.probabilities.state_dict().items()}
    wrong = [name for name, tensor in tensors.items() if name not in own or own[name].shape != tensor.shape]
    for name in tensors.keys() - wrong:
        if tensors[name].is_floating_point() != own[name].is_floating_point():
            kinds = [str(tensor.dtype).removeprefix("torch.") for tensor in (tensors[name], own[name])]
            raise WeightsError(f"{path}: {name} is {kinds[0]}, not {kinds[1]}: use the file as drft-study wrote it")
    wrong += [name for name in own if (whole or name.startswith(PREFIX)) and name not in tensors]
    if wrong:
        raise WeightsError(f"{path}: {len(wrong)} tensors do not fit {config.backbone.name} (first: {min(wrong)})")
    learned = {name.removeprefix(PREFIX): tensors.pop(name) for name in list(tensors) if name.startswith(PREFIX)}
    model.probabilities.load_state_dict(learned)
    model.net.load_state_dict({**model.net.state_dict(), **tensors})
    if stored.normalization is not None:
        mean, std = stored.normalization
        model = dataclasses.replace(model, mean=mean, std=std)
    return model, config


def _write(path: Path, state: Mapping[str, NDArray[np.generic]], metadata: Mapping[str, str]) -> None:
    tensors = {name: np.asarray(array, order="C") for name, array in state.items()}
    with whole_file(path) as draft:
        draft.write_bytes(save(tensors, {"drft_schema": _SCHEMA, **metadata}))


def read_checkpoint(path: Path) -> StoredCheckpoint:
    """Return the content of a checkpoint, without building its model.

    Raises:
        WeightsError: when the file is missing, damaged, not a checkpoint, or has numbers that are NaN or infinite.
    """
    import torch  # noqa: PLC0415  see TYPE_CHECKING

    if path.is_dir():
        raise WeightsError(f"{path} is a folder: name a .safetensors file, such as one of those in it")
    if not path.is_file():
        raise WeightsError(f"{path}: no such checkpoint: check the path")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: damaged checkpoint ({error}): train it again") from None
    if metadata.get("drft_schema") != _SCHEMA:
        raise WeightsError(f"{path}: not a checkpoint of this version of drft-study")
    try:
        config, classes = TrialConfig.model_validate_json(metadata["config"]), int(metadata["classes"])
        names = tuple(map(str, json.loads(metadata.get("names", "[]"))))
        mean, std = json.loads(metadata.get("normalization", "[null, null]"))
        normalization = (tuple(map(float, mean)), tuple(map(float, std))) if mean and std else None
        variant = Variant.model_validate_json(metadata.get("variant", "{}"))  # none before it was added
        members = int(metadata.get("members", "0"))
    except (ValidationError, KeyError, ValueError, TypeError):
        raise WeightsError(f"{path}: its configuration cannot be read: it was written by another version") from None
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor.float()).all():
            raise WeightsError(f"{path}: {name} has values that are NaN or infinite: use another checkpoint")
    finite = all(len(part) == 3 and np.isfinite(part).all() for part in normalization or ())
    if normalization and not (finite and min(std) > 0):
        raise WeightsError(f"{path}: mean {mean} and deviation {std} of its inputs are none: use another checkpoint")
    if names and len(set(names)) != classes:
        raise WeightsError(f"{path}: it names {len(set(names))} different classes and has {classes}: use another file")
    inputs = cast("tuple[Channels, Channels] | None", normalization)
    return StoredCheckpoint(tensors, config, classes, inputs, variant, names, members)
