"""Weight files of torchvision's networks, for the timm networks that compute the same.

torchvision and timm name and order the tensors of a network differently, but compute with them in nearly the same
order. So one small batch runs through both networks, and the i-th tensor of a kind in one is taken for the i-th of
this kind in the other. That this is right is not assumed but measured: in double precision, both networks must have
the same outputs before their classifiers.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from drft.errors import WeightsError
from drft.models.blocks import head_modules
from drft.models.variant import Variant
from drft.models.weights import IMAGENET_NORMALIZATION, OPTIONS, WeightFile, fit_weights

TIMM_NAMES: Mapping[str, str] = {
    **{f"convnext_{size}": f"convnext_{size}" for size in ("tiny", "small", "base", "large")},
    **{f"densenet{layers}": f"densenet{layers}" for layers in (121, 161, 169, 201)},
    **{f"efficientnet_b{size}": f"efficientnet_b{size}" for size in range(8)},
    **{f"efficientnet_v2_{size}": f"efficientnetv2_{size}" for size in "sml"},
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "regnet_x_400mf": "regnetx_004_tv",
    "regnet_x_800mf": "regnetx_008",
    "regnet_x_1_6gf": "regnetx_016",
    "regnet_x_3_2gf": "regnetx_032",
    "regnet_x_8gf": "regnetx_080",
    "regnet_x_16gf": "regnetx_160",
    "regnet_x_32gf": "regnetx_320",
    "regnet_y_400mf": "regnety_004",
    "regnet_y_800mf": "regnety_008_tv",
    "regnet_y_1_6gf": "regnety_016",
    "regnet_y_3_2gf": "regnety_032",
    "regnet_y_8gf": "regnety_080_tv",
    "regnet_y_16gf": "regnety_160",
    "regnet_y_32gf": "regnety_320",
    "regnet_y_128gf": "regnety_1280",
    **{name: name for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")},
    **{name: name for name in ("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d")},
    **{name: name for name in ("wide_resnet50_2", "wide_resnet101_2")},
    "swin_b": "swin_base_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_t": "swin_tiny_patch4_window7_224",
    **{f"vgg{layers}{norm}": f"vgg{layers}{norm}" for layers in (11, 13, 16, 19) for norm in ("", "_bn")},
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224",
    "vit_l_32": "vit_large_patch32_224",
    "vit_h_14": "vit_huge_patch14_224",
}
"""torchvision's networks and the timm networks that compute the same. Only error messages rely on these names."""

_CLASSIFIER = re.compile(r"(fc|head|heads\.head|classifier(?:\.\d+)?)\.weight")
"""Names that torchvision's classifiers have."""

_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")
"""The beginning of names in the published files of DenseNets; the networks have ``norm1`` for ``norm.1``."""

_NO_PARAMETER = re.compile(r"running_(?:mean|var)|num_batches_tracked|relative_position_index|relative_coords_table")

_ROLES = ("weight", "bias", "running_mean", "running_var")

_SIZE = 96
"""Height and width of the compared images in pixels, where a network takes any size."""

_TOLERANCE = 1e-6
"""The largest difference between outputs that are equal up to rounding in double precision, as a share of their
differences between images."""


def from_torchvision(file: WeightFile, backbone: str, expected: Mapping[str, Tensor]) -> WeightFile | None:
    """Return the weights of a torchvision network by the names that an equal timm network has for them.

    Args:
        file: any weight file.
        backbone: name of the timm network.
        expected: the tensors that the backbone needs, by their names.

    Returns:
        The weights, with torchvision's normalization unless the file has another, and the eps of their batch norms
        where timm's is another; None when they are not of a torchvision network.

    Raises:
        WeightsError: when the backbone does not compute the same as the torchvision network, or the weights are not
            finite numbers.
    """
    network = _network_of(file)
    if network is None:
        return None
    name, theirs, classifier = network
    timm_name = TIMM_NAMES.get(name)
    fits_another = timm_name is not None and timm_name != backbone.partition(".")[0]
    remedy = f"use --backbone {timm_name}, or {OPTIONS}" if fits_another else OPTIONS
    state = {key: tensor for key, tensor in theirs.state_dict().items() if not key.startswith(f"{classifier}.")}
    images = torch.randn(2, 3, *_image_size(backbone), generator=torch.Generator().manual_seed(0))
    names = _match(theirs, state, backbone, expected, images)
    if names is None:
        raise WeightsError(
            f"{file.path}: weights of torchvision's {name}, whose layers are not those of {backbone}: {remedy}"
        )
    tensors = {key: state[names[key]].reshape(tensor.shape) for key, tensor in expected.items()}
    metadata = file.metadata if {"mean", "std"} & file.metadata.keys() else IMAGENET_NORMALIZATION
    converted = dataclasses.replace(file, states={"": tensors}, metadata=metadata)
    fit_weights(converted, backbone, expected)
    ours: nn.Module = timm.create_model(backbone)
    ours.load_state_dict(tensors, strict=False)
    eps = _norm_eps(theirs)
    if len(eps) == len(_norm_eps(ours)) == 1 and eps != _norm_eps(ours):
        converted = dataclasses.replace(converted, variant=Variant(batch_norm_eps=min(eps)))
        set_batch_norm_eps(ours, min(eps))
    difference = _difference(theirs, theirs.get_submodule(classifier), ours, head_modules(ours)[0], images)
    if not difference <= _TOLERANCE:  # true also for NaN
        raise WeightsError(
            f"{file.path}: weights of torchvision's {name}, whose outputs are not those of {backbone} (they differ by "
            f"{difference:.2g} times their range over images): {remedy}"
        )
    return converted


def _network_of(file: WeightFile) -> tuple[str, nn.Module, str] | None:
    """Return the name of the torchvision network whose weights a file holds, the network, and its classifier's path."""
    for state in file.states.values():
        named = {_DENSE_LAYER.sub(r"\1", key): tensor for key, tensor in state.items()}
        while all("." in key for key in named) and len({key.partition(".")[0] for key in named}) == 1:
            named = {key.partition(".")[2]: tensor for key, tensor in named.items()}  # of DataParallel and others
        heads = sorted(match[1] for key in named if (match := _CLASSIFIER.fullmatch(key)) and named[key].ndim == 2)
        if not heads:
            continue
        classes, inputs = named[f"{heads[-1]}.weight"].shape
        parameters = sum(tensor.numel() for key, tensor in named.items() if not _NO_PARAMETER.search(key))
        parameters += (1000 - classes) * (inputs + 1)  # torchvision counts those of ImageNet's classes
        body = {key: tensor.float() for key, tensor in named.items() if not key.startswith(f"{heads[-1]}.")}
        for name in torchvision.models.list_models(module=torchvision.models):
            published = next(iter(torchvision.models.get_model_weights(name)), None)
            if published is None or published.meta["num_params"] != parameters:
                continue
            net: nn.Module = torchvision.models.get_model(name, weights=None)
            try:
                # torchvision itself renames tensors of its older files
                missing, unexpected = net.load_state_dict(body, strict=False)
            except (RuntimeError, ValueError):  # other shapes; MNASNet wants to know its version
                continue
            missing = [key for key in missing if not key.endswith("num_batches_tracked")]
            if not unexpected and set(missing) == {f"{heads[-1]}.weight", f"{heads[-1]}.bias"}:
                return name, net, heads[-1]
    return None


def _image_size(backbone: str) -> tuple[int, int]:
    cfg = timm.get_pretrained_cfg(backbone)
    size = cfg.input_size[-1] if cfg is not None and cfg.fixed_input_size else _SIZE
    return size, size


def _match(
    theirs: nn.Module, state: Mapping[str, Tensor], backbone: str, expected: Mapping[str, Tensor], images: Tensor
) -> dict[str, str] | None:
    """Return which tensor of a torchvision network each tensor of a timm network is; None when some have no match."""
    with torch.device("meta"):
        ours: nn.Module = timm.create_model(backbone)
        blanks = torch.empty(images.shape)
    counted = [name for name, tensor in state.items() if tensor.is_floating_point()]
    if len(counted) != len(expected):
        return None
    waiting: dict[tuple[object, ...], collections.deque[str]] = collections.defaultdict(collections.deque)
    try:
        for name, kind in _in_order(theirs, images):
            if name in state:
                waiting[kind].append(name)
    except (RuntimeError, AssertionError):  # it takes images of another size alone
        return None
    names = {}
    for name, kind in _in_order(ours, blanks):
        if name in expected:
            if not waiting[kind]:
                return None
            names[name] = waiting[kind].popleft()
    return names


def _in_order(net: nn.Module, images: Tensor) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield the names of a network's tensors in the order in which it computes with them, each with its kind.

    A kind is the role and the shape of a tensor, as far as both libraries agree on it: a convolution of single pixels
    equals a linear layer. Convolutions with strides are told apart by these and by their kernels, and batch norms by
    the convolution before them, since RegNets of torchvision compute the shortcut of a block first and those of timm
    last.
    """
    calls: dict[nn.Module, int] = {}

    def count(module: nn.Module, _: object) -> None:
        calls.setdefault(module, len(calls))

    handles = [module.register_forward_pre_hook(count) for module in net.modules()]
    with torch.no_grad():
        net.eval()(images)
    for handle in handles:
        handle.remove()
    places: dict[str, tuple[int, ...]] = {}
    for path, module in net.named_modules():
        # The module around it uses the tensors of a module that is not called, such as the projections of attention.
        around = places[path.rpartition(".")[0]] if path else ()
        places[path] = (calls[module],) if module in calls else (*around, len(places))
    last_convolution: tuple[object, ...] = ()
    for path in sorted(places, key=places.__getitem__):
        module = net.get_submodule(path)
        own = [*module.named_parameters(path, recurse=False), *module.named_buffers(path, recurse=False)]
        layer: tuple[object, ...] = ()
        if own and isinstance(module, nn.Conv2d):
            layer = (*module.stride, *module.kernel_size) if max(module.stride) > 1 else ()
            last_convolution = (*module.stride, *module.weight.shape)
        elif hasattr(module, "running_var"):
            layer = last_convolution
        for name, tensor in own:
            if tensor.is_floating_point():
                role = next((role for role in _ROLES if name.endswith(role)), "")
                yield name, (role, tensor.shape[0], math.prod(tensor.shape[1:]), *layer)


def _difference(
    theirs: nn.Module, their_head: nn.Module, ours: nn.Module, our_head: nn.Module, images: Tensor
) -> float:
    """Return the largest difference between the classifiers' inputs, as a share of their range over images."""
    features: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        features.append(inputs[0].flatten(1))

    for net, head in ((theirs, their_head), (ours, our_head)):
        handle = head.register_forward_pre_hook(keep)
        with torch.no_grad():
            net.double().eval()(images.double())
        handle.remove()
    first, second = features
    if first.shape != second.shape:
        return math.inf
    return float((first - second).abs().max() / (first.amax(0) - first.amin(0)).max())


def set_batch_norm_eps(net: nn.Module, eps: float) -> None:
    """Set the eps of all batch norms."""
    norms: list[Any] = [module for module in net.modules() if hasattr(module, "running_var")]
    for norm in norms:
        norm.eps = eps


def _norm_eps(net: nn.Module) -> set[float]:
    """Return the eps of all batch norms."""
    norms: list[Any] = [module for module in net.modules() if hasattr(module, "running_var")]
    return {float(norm.eps) for norm in norms}
