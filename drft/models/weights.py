"""Where pretrained weights come from: shipped with the package, a file, or timm's hub.

Nothing is guessed: a file that does not fit the backbone is refused with what is wrong and what to do.
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
"""The backbone whose weights this package ships."""

EMBEDDED_FILE = Path(__file__).parent / "embedded" / f"{EMBEDDED_BACKBONE}.safetensors"

Channels = tuple[float, float, float]

_WHERE = "(--weights, or in the search space)"
OPTIONS = f"choose hub, none or a file {_WHERE}"
"""What a user can do about missing weights."""
WITHOUT_HUB = f"choose none or a file {_WHERE}"
"""Likewise, where the hub was asked."""
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_WRAPPER_PREFIXES = ("module.", "_orig_mod.")
_DAMAGE = (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError)
_HUB_PROBE_SECONDS = 4.0


@dataclass(frozen=True)
class WeightFile:
    """Tensors of a weight file by name, and what its metadata says of the inputs."""

    path: Path
    tensors: Mapping[str, Tensor] = field(repr=False)
    mean: Channels | None = None
    std: Channels | None = None


def embedded_weights(backbone: str) -> WeightFile:
    """Return the weights shipped with this package.

    Raises:
        WeightsError: for any other backbone.
    """
    if backbone != EMBEDDED_BACKBONE:
        raise WeightsError(f"{backbone}: embedded weights exist only for {EMBEDDED_BACKBONE}: {OPTIONS}")
    return read_weights(EMBEDDED_FILE)


def read_weights(path: Path) -> WeightFile:
    """Read a ``.safetensors`` or a torch file (``weights_only``); wrappers such as ``state_dict`` are opened.

    Raises:
        WeightsError: when the file is missing, damaged or holds no tensors by name.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weight file: check the path or {OPTIONS}")
    try:
        return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    except WeightsError:
        raise
    except _DAMAGE:
        raise WeightsError(f"{path}: damaged or not a weight file: fetch it again or {OPTIONS}") from None


def check_fit(file: WeightFile, backbone: str, wanted: Mapping[str, Tensor]) -> None:
    """Refuse weights that lack a tensor of the backbone or hold it in another shape.

    Raises:
        WeightsError: saying how many tensors fit.
    """
    wrong = [name for name, tensor in wanted.items() if _shape(file.tensors.get(name)) != tensor.shape]
    if wrong:
        fitting = len(wanted) - len(wrong)
        raise WeightsError(
            f"{file.path}: weights of another model: {fitting} of {len(wanted)} tensors fit {backbone} "
            f"(first that does not: {wrong[0]}); name the model they were saved from with --backbone, or {OPTIONS}"
        )


@contextlib.contextmanager
def hub_offline() -> Iterator[None]:
    """Answer from the local hub cache only, so that nothing retries for minutes without a network."""
    before = hub_constants.HF_HUB_OFFLINE
    hub_constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub_constants.HF_HUB_OFFLINE = before


def hub_reachable() -> bool:
    """Tell within seconds whether the weight hub answers at all; proxies of the environment are honoured."""
    endpoint = os.environ.get("HF_ENDPOINT", hub_constants.ENDPOINT)
    if hub_constants.HF_HUB_OFFLINE or not endpoint.startswith(("https://", "http://")):
        return False
    try:
        with urllib.request.urlopen(endpoint, timeout=_HUB_PROBE_SECONDS):  # noqa: S310  scheme checked above
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _read_safetensors(path: Path) -> WeightFile:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
        metadata = file.metadata() or {}
    return WeightFile(path, _unwrapped(tensors), _channels(metadata, "mean"), _channels(metadata, "std"))


def _read_torch(path: Path) -> WeightFile:
    content = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = content if isinstance(content, dict) else {}
    tensors = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors by name: save the model's state_dict() or {OPTIONS}")
    return WeightFile(path, _unwrapped(tensors))


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = dict.fromkeys(tensors, "")
    for name in tensors:
        bare = name
        for prefix in _WRAPPER_PREFIXES:
            bare = bare.removeprefix(prefix)
        names[name] = bare
    return {names[name]: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _channels(metadata: Mapping[str, str], key: str) -> Channels | None:
    if key not in metadata:
        return None
    red, green, blue = (float(value) for value in json.loads(metadata[key]))
    return red, green, blue


def _shape(tensor: Tensor | None) -> torch.Size | None:
    return None if tensor is None else tensor.shape
