"""Pretrained weights: shipped with the package, read from a file, or downloaded by timm.

A file that does not fit the backbone is an error; its weights are never adapted by guessing.
"""

import builtins
import collections
import contextlib
import math
import os
import pickle
import pickletools
import re
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from huggingface_hub import constants as hub_constants
from safetensors import SafetensorError, safe_open
from torch import Tensor

from drft.errors import WeightsError
from drft.models.variant import Variant

EMBEDDED_BACKBONE = "mobilenetv3_small_050"
"""The backbone whose weights are shipped with this package."""

EMBEDDED_FILE = Path(__file__).parent / "embedded" / f"{EMBEDDED_BACKBONE}.safetensors"

Channels = tuple[float, float, float]

IMAGENET_NORMALIZATION: Mapping[str, str] = {"mean": "0.485, 0.456, 0.406", "std": "0.229, 0.224, 0.225"}
"""Metadata of files whose weights were trained with it, as all of torchvision and MAE were; timm has other values for
some of these networks."""

_WHERE = "(--weights, or in the search space)"
OPTIONS = f"choose hub, none or a file {_WHERE}"
"""End of error messages: the alternatives to weights that cannot be used."""
WITHOUT_HUB = f"choose none or a file {_WHERE}"
"""The same where the hub has failed."""
_DAMAGE = (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile, SafetensorError)
_WITH_NORMALIZATION = "name that of the weights with --normalization imagenet or half"
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan\b|inf(?:inity)?\b)", re.IGNORECASE)
_HUB_TIMEOUT_SECONDS = 4.0


_MAX_NESTING = 4
"""Levels of dictionaries in a file that are searched for tensors."""

_WRAPPERS = {
    "state_dict", "model_state_dict", "model", "module", "_orig_mod", "timm_model", "net", "network", "backbone",
    "encoder", "0",
}  # fmt: skip
"""Usual names around the tensors of a model, as dictionaries and as prefixes. Weights under them alone come first."""

_LEGACY_PICKLES = 4
"""Pickles at the beginning of a file of torch before version 1.6; the last one is the content."""

_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Modules that such files name as Python 2 did; torch reads them by their new names."""

_PYTHON_OBJECTS = {
    "builtins.bool", "builtins.complex", "builtins.float", "builtins.frozenset", "builtins.int", "builtins.list",
    "builtins.object", "builtins.slice", "builtins.str", "builtins.tuple",
}  # fmt: skip
"""Classes that are themselves in a file; a stand-in takes the place of every other one."""

_ATTACKS = re.compile(
    r"builtins\.(?:__import__|breakpoint|compile|eval|exec|input|open|print)|_?io\.open|"  # io before Python 3.12
    r"(?:os|posix|nt|subprocess|commands)\..*"  # Python 2 had functions of subprocess in commands
)
"""Names that stand in no file of weights, but in files that attack who reads them."""

_COMPILED = re.compile(r"(?:(?<=\.)|^)_orig_mod\.")

_AVERAGED = re.compile(r"(?:^|[._])(?:ema|swa)(?:[._]|$)")
"""Names of averaged weights, which are taken where no others fit."""


@dataclass(frozen=True)
class WeightFile:
    """The content of a weight file, as found there."""

    path: Path
    states: Mapping[str, Mapping[str, Tensor]] = field(repr=False)
    """Tensors by name, by the names of the dictionaries around them, such as ``model.state_dict``; at least one."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    variant: Variant = field(default_factory=Variant)
    """How the network that the weights were trained in differs from timm's."""

    def normalization(self) -> tuple[Channels, Channels] | None:
        """Return mean and standard deviation of the inputs where the metadata have both; None where they have neither.

        Raises:
            WeightsError: when they are not three numbers, or not of images in [0, 1].
        """
        if "mean" not in self.metadata and "std" not in self.metadata:
            return None
        mean, std = self._channels("mean"), self._channels("std")
        if not all(0 <= value <= 1 for value in mean) or not all(0 < value <= 1 for value in std):
            raise WeightsError(
                f"{self.path}: its metadata give the inputs mean {mean} and deviation {std}, which is none of images "
                f"with values from 0 to 1: {_WITH_NORMALIZATION}"
            )
        return mean, std

    def _channels(self, key: str) -> Channels:
        """Return three numbers in any notation; one number counts for all channels."""
        text = self.metadata.get(key, "")
        numbers = [float(number) for number in _NUMBER.findall(text)]
        red, green, blue = numbers * 3 if len(numbers) == 1 else numbers if len(numbers) == 3 else (math.nan,) * 3
        if not all(map(math.isfinite, (red, green, blue))):
            raise WeightsError(
                f"{self.path}: {key} in its metadata is {text[:80]!r}, not three numbers: {_WITH_NORMALIZATION}"
            )
        return red, green, blue


def embedded_weights(backbone: str) -> WeightFile:
    """Return the weights shipped with this package.

    Raises:
        WeightsError: for any other backbone than theirs.
    """
    if backbone != EMBEDDED_BACKBONE:
        raise WeightsError(f"{backbone}: embedded weights exist only for {EMBEDDED_BACKBONE}: {OPTIONS}")
    return read_weights(EMBEDDED_FILE)


def read_weights(path: Path) -> WeightFile:
    """Return the content of a safetensors file or of a file written by ``torch.save``.

    Torch files are read with ``weights_only``, so that they run no code. Objects beside the tensors, such as arguments
    and optimizers, are skipped.

    Raises:
        WeightsError: when the file is missing, unreadable, damaged or holds no tensors by name.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weight file: check the path or {OPTIONS}")
    try:
        with path.open("rb") as opened:
            beginning = opened.read(9)
        if beginning[8:] != b"{":  # safetensors begin with the length of a JSON object
            return WeightFile(path, _read_torch(path))
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
            metadata = file.metadata() or {}
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error}): check the file or {OPTIONS}") from None
    except _DAMAGE:
        raise WeightsError(f"{path}: damaged or not a weight file: fetch it again or {OPTIONS}") from None
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors: save the model's state_dict() or {OPTIONS}")
    return WeightFile(path, {"": tensors}, metadata)


def fitting_states(file: WeightFile, expected: Mapping[str, Tensor]) -> list[tuple[str, dict[str, Tensor]]]:
    """Return the parts of a file that have all tensors of a backbone with its shapes, with the names around them."""
    return [(label, state) for label, state in _unprefixed(file, expected) if not _wrong(state, expected)]


def fit_weights(file: WeightFile, backbone: str, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a file, in float32, by the names that the backbone has for them.

    The file may have them inside dictionaries and with a common prefix, such as ``model.`` or ``module.``. All tensors
    of the backbone must be there and have its shapes. Averaged weights (EMA) are taken where no others fit.

    Raises:
        WeightsError: with what was found when nothing fits, when different weights fit, and when a tensor that fits
            is not of finite real numbers.
    """
    fitting = fitting_states(file, expected)
    if not fitting:
        versions = list(_unprefixed(file, expected))
        label, state = max(versions, key=lambda version: -len(_wrong(version[1], expected)))
        wrong = _wrong(state, expected)
        first = wrong[0]
        found = f", which has the shape {tuple(state[first].shape)}" if first in state else ""
        where = f" in {label!r}" if label else ""
        raise WeightsError(
            f"{file.path}: weights of another model: {len(expected) - len(wrong)} of {len(expected)} tensors fit "
            f"{backbone} (first that does not: {first}{found}; the file has {len(state)}{where}, such as "
            f"{next(iter(state))}); name the model they were saved from with --backbone, or {OPTIONS}"
        )
    best = min(_rank(label) for label, _ in fitting)
    (label, state), *others = [version for version in fitting if _rank(version[0]) == best]
    for other, values in others:
        if any(not torch.equal(state[name], values[name]) for name in expected):
            raise WeightsError(
                f"{file.path}: holds different weights that fit {backbone}, in {label or 'the file itself'!r} and in "
                f"{other or 'the file itself'!r}: save one of them alone, or {OPTIONS}"
            )
    for name in expected:
        tensor = state[name]
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            kind = str(tensor.dtype).removeprefix("torch.") if tensor.layout == torch.strided else "sparse"
            raise WeightsError(f"{file.path}: {name} is {kind}, not floating point: convert it first, or {OPTIONS}")
        if not torch.isfinite(tensor.float()).all():
            raise WeightsError(f"{file.path}: {name} has values that are NaN or infinite: fetch it again or {OPTIONS}")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


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


def _unprefixed(file: WeightFile, expected: Mapping[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the tensors below each prefix that may be common to a backbone's tensors, with the names around them."""
    names = list(expected)
    anchors = {names[0], names[len(names) // 2], names[-1]}  # one of them may be missing
    for label, state in file.states.items():
        # torch.compile adds this prefix to the modules that it compiled, wherever they are.
        plain = {_COMPILED.sub("", name): tensor for name, tensor in state.items()}
        prefixes = [name[: -len(end)] for name in plain for end in anchors if f".{name}".endswith(f".{end}")]
        for prefix in dict.fromkeys(["", *prefixes]):
            below = {name[len(prefix) :]: tensor for name, tensor in plain.items() if name.startswith(prefix)}
            yield ".".join(filter(None, (label, prefix.rstrip(".")))), below


def _wrong(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the expected tensors that are missing or have another shape."""
    return [name for name, tensor in expected.items() if name not in state or state[name].shape != tensor.shape]


def _rank(label: str) -> tuple[bool, bool]:
    """Return a rank of the names around tensors; weights of a lower rank are preferred."""
    return bool(_AVERAGED.search(label)), not set(filter(None, label.split("."))) <= _WRAPPERS


def _read_torch(path: Path) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of a torch file by name, by the names of the dictionaries around them."""
    objects = _objects_beside_tensors(path)
    if unsafe := [name for name in objects if _ATTACKS.fullmatch(name)]:
        raise WeightsError(f"{path}: damaged or not a weight file, it would run {unsafe[0]}: {OPTIONS}")
    try:
        content = _load(path, objects, filled=False)
    except pickle.UnpicklingError:
        if not objects:
            raise
        try:
            content = _load(path, objects, filled=True)
        except Exception:  # noqa: BLE001  torch expects no stand-ins, and they may fail in any way
            raise WeightsError(
                f"{path}: holds Python objects ({', '.join(objects[:3])}) that cannot be skipped: "
                f"save the model's state_dict() alone, or {OPTIONS}"
            ) from None
    states = dict(_states("", content, 0))
    if not states:
        kind = type(content).__name__
        keys = f" of {', '.join(map(repr, list(content)[:5]))}" if isinstance(content, dict) and content else ""
        raise WeightsError(
            f"{path}: holds no tensors by name but a {kind}{keys}: save the model's state_dict() or {OPTIONS}"
        )
    return states


def _load(path: Path, objects: Sequence[str], *, filled: bool) -> object:
    """Return the content of a torch file with stand-ins for objects, see ``_stand_in``."""
    with torch.serialization.safe_globals([_stand_in(name, filled=filled) for name in objects]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _states(label: str, content: object, level: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the tensors by name in a dictionary and in those inside it, each with the names of the dictionaries."""
    if not isinstance(content, dict) or level > _MAX_NESTING:
        return
    tensors = {
        name: value.detach() for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)
    }
    if tensors:
        yield label, tensors
    for name, value in content.items():
        if isinstance(name, str):
            yield from _states(f"{label}.{name}".lstrip("."), value, level + 1)


def _objects_beside_tensors(path: Path) -> list[str]:
    """Return the full names of classes and functions in a torch file that torch does not read by itself."""
    if zipfile.is_zipfile(path):
        try:
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        except ValueError as error:
            if "torchscript" not in str(error).lower():
                raise
            raise WeightsError(f"{path}: is a TorchScript program: save its state_dict(), or {OPTIONS}") from None
    names = set()
    with path.open("rb") as file:
        for _ in range(_LEGACY_PICKLES):
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "GLOBAL":
                    module, _, name = str(argument).partition(" ")
                    names.add(f"{_RENAMED.get(module, module)}.{name}")
    return sorted(name for name in names if not name.startswith(("torch.", "collections.OrderedDict")))


def _stand_in(name: str, *, filled: bool) -> tuple[type, str]:
    """Return a class that takes the place of an object in a torch file, and the object's name.

    The module of the object is not imported; only Python's own classes are themselves.

    Args:
        name: full name of the class or function.
        filled: whether items may be put into the object, as into a dictionary; then its state must be named, too.
    """
    module, _, qualified = name.rpartition(".")
    if name in _PYTHON_OBJECTS:
        return getattr(builtins, qualified), name
    as_dictionary = filled and not module.startswith("numpy")
    skip = {"__init__": lambda *_: None, "__setstate__": lambda *_: None}
    new = {"__new__": lambda cls, *_: collections.OrderedDict() if as_dictionary else object.__new__(cls)}
    return type(qualified, (), {"__module__": module, **new, **skip}), name
