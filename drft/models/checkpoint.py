"""Checkpoints: the tensors a training changed, beside the configuration that made them.

Only what differs from the pretrained weights is kept, so a checkpoint of depth 0 is a few kilobytes. It is
laid over the same pretrained weights again when it is loaded. ``save_model`` writes the other kind, for others to use:
all tensors, and the normalization of the inputs.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from drft.config.trial_config import TrialConfig, with_values
from drft.errors import WeightsError
from drft.files.atomic import whole_file

if TYPE_CHECKING:  # the driver of a study saves checkpoints without torch
    from torch import Tensor, nn

    from drft.models.backbone import Model

_SCHEMA = "1"


class StoredCheckpoint(NamedTuple):
    """What a checkpoint file holds."""

    tensors: dict[str, "Tensor"]
    config: TrialConfig
    classes: int
    normalization: tuple[tuple[float, float, float], tuple[float, float, float]] | None
    """Mean and standard deviation of the inputs, where the file holds a whole model."""


def changed_tensors(net: "nn.Module", pretrained: Mapping[str, "Tensor"]) -> dict[str, NDArray[np.generic]]:
    """Return the parameters and buffers that differ from the pretrained state, and always those of the head."""
    import torch  # noqa: PLC0415  see TYPE_CHECKING

    from drft.models.blocks import head_names  # noqa: PLC0415

    head = head_names(net)
    state = ((name, tensor.detach().cpu()) for name, tensor in net.state_dict().items())
    return {
        name: tensor.contiguous().numpy().copy()
        for name, tensor in state
        if name in head or not torch.equal(tensor, pretrained[name])
    }


def save_checkpoint(path: Path, state: Mapping[str, NDArray[np.generic]], config: TrialConfig, classes: int) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the ``.safetensors`` file to write.
        state: as ``TrialResult.best_state`` holds it.
        config: the configuration of the training.
        classes: outputs of the head.
    """
    _write(path, state, {"config": config.model_dump_json(), "classes": str(classes)})


def save_model(path: Path, model: "Model", config: TrialConfig, classes: int) -> None:
    """Write a whole model, which loads without the pretrained weights that it was made from; whole or not at all.

    Args:
        path: the ``.safetensors`` file to write.
        model: with the tensors to keep.
        config: the configuration of the training.
        classes: outputs of the head.
    """
    from drft.models.probabilities import learned_tensors  # noqa: PLC0415  see TYPE_CHECKING

    state = {name: tensor.detach().cpu().numpy() for name, tensor in model.net.state_dict().items()}
    metadata = {
        "config": config.model_dump_json(),
        "classes": str(classes),
        "normalization": json.dumps([model.mean, model.std]),
    }
    _write(path, state | learned_tensors(model.link), metadata)


def load_checkpoint(path: Path | str) -> tuple["Model", TrialConfig]:
    """Rebuild the model of a checkpoint: its configuration's backbone and weights, the saved tensors over them.

    A file of ``save_model`` needs no other weights; the ``pretrained`` of its model is random.

    Raises:
        WeightsError: when the file is missing, damaged, not a checkpoint, or does not fit its backbone.
        BackboneError: when the backbone no longer exists.
    """
    from drft.models.backbone import build_model  # noqa: PLC0415
    from drft.models.probabilities import PREFIX  # noqa: PLC0415  see TYPE_CHECKING

    stored = read_checkpoint(Path(path))
    config, whole = stored.config, stored.normalization is not None
    model = build_model(with_values(config, {"backbone.weights": "none"}) if whole else config, stored.classes)
    own = model.net.state_dict() | {PREFIX + name: tensor for name, tensor in model.link.state_dict().items()}
    tensors = stored.tensors
    wrong = [name for name, tensor in tensors.items() if name not in own or own[name].shape != tensor.shape]
    wrong += [name for name in own if (whole or name.startswith(PREFIX)) and name not in tensors]
    if wrong:
        raise WeightsError(f"{path}: {len(wrong)} tensors do not fit {config.backbone.name} (first: {min(wrong)})")
    learned = {name.removeprefix(PREFIX): tensors.pop(name) for name in list(tensors) if name.startswith(PREFIX)}
    model.link.load_state_dict(learned)
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
    """Return what a checkpoint holds, without building its model.

    Raises:
        WeightsError: when the file is missing, damaged or not a checkpoint.
    """
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
        mean, std = json.loads(metadata.get("normalization", "[null, null]"))
        return StoredCheckpoint(tensors, config, classes, (tuple(mean), tuple(std)) if mean and std else None)
    except (ValidationError, KeyError, ValueError, TypeError):
        raise WeightsError(f"{path}: its configuration cannot be read: it was written by another version") from None
