"""Pretrained weights: shipped with the package, read from a file, or downloaded by timm.

A file that does not fit the backbone is an error; its weights are never adapted by guessing.
"""

import contextlib
import json
import os
import pickle
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from huggingface_hub import constants as hub_constants
from safetensors import SafetensorError, safe_open
from torch import Tensor

from drft.errors import WeightsError

EMBEDDED_BACKBONE = "mobilenetv3_small_050"
"""The backbone whose weights are shipped with this package."""

EMBEDDED_FILE = Path(__file__).parent / "embedded" / f"{EMBEDDED_BACKBONE}.safetensors"

Channels = tuple[float, float, float]

_WHERE = "(--weights, or in the search space)"
OPTIONS = f"choose hub, none or a file {_WHERE}"
"""End of error messages: the alternatives to weights that cannot be used."""
WITHOUT_HUB = f"choose none or a file {_WHERE}"
"""The same where the hub has failed."""
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_DAMAGE = (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError)
_HUB_TIMEOUT_SECONDS = 4.0


@dataclass(frozen=True)
class WeightFile:
    """Tensors of a weight file by name, and the normalization of the inputs where its metadata has one."""

    path: Path
    tensors: Mapping[str, Tensor] = field(repr=False)
    mean: Channels | None = None
    std: Channels | None = None


def embedded_weights(backbone: str) -> WeightFile:
    """Return the weights shipped with this package.

    Raises:
        WeightsError: for any other backbone than theirs.
    """
    if backbone != EMBEDDED_BACKBONE:
        raise WeightsError(f"{backbone}: embedded weights exist only for {EMBEDDED_BACKBONE}: {OPTIONS}")
    return read_weights(EMBEDDED_FILE)


def read_weights(path: Path) -> WeightFile:
    """Return the weights of a ``.safetensors`` file or of a file written by ``torch.save``.

    Torch files are read with ``weights_only``, so that they run no code. State dicts inside ``state_dict``,
    ``model_state_dict`` or ``model`` are found.

    Raises:
        WeightsError: when the file is missing, damaged or holds no tensors by name.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weight file: check the path or {OPTIONS}")
    try:
        if path.suffix != ".safetensors":
            return WeightFile(path, _without_prefixes(_read_torch(path)))
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
            metadata = file.metadata() or {}
        return WeightFile(path, _without_prefixes(tensors), _channels(metadata, "mean"), _channels(metadata, "std"))
    except _DAMAGE:
        raise WeightsError(f"{path}: damaged or not a weight file: fetch it again or {OPTIONS}") from None


def check_fit(file: WeightFile, backbone: str, expected: Mapping[str, Tensor]) -> None:
    """Raise an error if a tensor of the backbone is missing from the weights or has another shape there.

    Raises:
        WeightsError: with the number of tensors that fit.
    """
    wrong = [
        name
        for name, tensor in expected.items()
        if name not in file.tensors or file.tensors[name].shape != tensor.shape
    ]
    if wrong:
        fitting = len(expected) - len(wrong)
        raise WeightsError(
            f"{file.path}: weights of another model: {fitting} of {len(expected)} tensors fit {backbone} "
            f"(first that does not: {wrong[0]}); name the model they were saved from with --backbone, or {OPTIONS}"
        )


@contextlib.contextmanager
def hub_offline() -> Iterator[None]:
    """Restrict timm to the local hub cache, so that nothing retries for minutes without a network."""
    before = hub_constants.HF_HUB_OFFLINE
    hub_constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub_constants.HF_HUB_OFFLINE = before


def hub_reachable() -> bool:
    """Return within seconds whether the weight hub can be reached, also through the proxies of the environment."""
    endpoint = os.environ.get("HF_ENDPOINT", hub_constants.ENDPOINT)
    if hub_constants.HF_HUB_OFFLINE or not endpoint.startswith(("https://", "http://")):
        return False
    try:
        with urllib.request.urlopen(endpoint, timeout=_HUB_TIMEOUT_SECONDS):  # noqa: S310  scheme checked above
            return True
    except urllib.error.HTTPError:  # an error status is an answer too
        return True
    except OSError:
        return False


def _read_torch(path: Path) -> dict[str, Tensor]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = content if isinstance(content, dict) else {}
    tensors = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors by name: save the model's state_dict() or {OPTIONS}")
    return tensors


def _without_prefixes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return float32 tensors by their names without the prefixes of ``DataParallel`` and ``torch.compile``."""
    return {
        name.removeprefix("module.").removeprefix("_orig_mod."): tensor.float()
        if tensor.is_floating_point()
        else tensor
        for name, tensor in tensors.items()
    }


def _channels(metadata: Mapping[str, str], key: str) -> Channels | None:
    if key not in metadata:
        return None
    red, green, blue = (float(value) for value in json.loads(metadata[key]))
    return red, green, blue
