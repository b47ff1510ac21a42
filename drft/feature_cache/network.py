"""A backbone that is ready for training at any depth: its model, its boundaries, and the cost of each boundary."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import fx, nn

from drft.config.trial_config import TrialConfig
from drft.feature_cache.cache_file import Activations
from drft.feature_cache.depthwise_conv import DepthwiseConv, is_wide_depthwise
from drft.feature_cache.fuse_batch_norm import fold_batch_norms
from drft.feature_cache.pointwise_conv import PointwiseConv
from drft.feature_cache.split_model import SplitModel, split_model
from drft.models.backbone import Model, build_model
from drft.models.blocks import head_names
from drft.models.devices import Computed, autocast, images_at_once, pick_precision
from drft.models.probabilities import ClassProbabilities
from drft.models.strided_conv import is_pointwise
from drft.models.variant import Variant

_EXAMPLES = 8
"""Images on which costs are measured on a CPU."""


@dataclass(frozen=True)
class SplitNetwork:
    """A model with the boundaries at which it can be cut; one object serves many trials."""

    name: str
    """timm's name of the backbone."""
    model: Model
    split_model: SplitModel
    """The segments of ``model.net`` between its boundaries."""
    precision: Computed
    device: torch.device
    identity: str
    """Digest of everything that the activations of an image depend on, except the image and the boundary."""
    costs: Mapping[int, "BoundaryCost"]
    """The cost of each boundary by depth, deepest first."""

    def with_probabilities(self, probabilities: ClassProbabilities) -> "SplitNetwork":
        """Return the same network with other class probabilities."""
        return replace(self, model=replace(self.model, probabilities=probabilities.to(self.device)))

    @property
    def images_at(self) -> int:
        """Depth number of the boundary before the network, where activations are uint8 images.

        It is one more than that of the boundary before the first block, where they are normalized images.
        """
        return self.split_model.block_count + 1


@dataclass(frozen=True, slots=True)
class BoundaryCost:
    """The cost per image of computing and storing the activations at a boundary."""

    seconds: float
    """Computing time from the boundary before it."""
    nbytes: int
    """Size of the activations in bytes."""


def build_network(config: TrialConfig, classes: int, device: torch.device) -> SplitNetwork:
    """Build the model of a configuration on a device, cut it at its boundaries, and measure their costs.

    Raises:
        BackboneError: when the backbone or its weights do not exist.
        ConfigError: when the device does not support the precision.
    """
    model = build_model(config, classes)
    model.net.to(device)
    model.net.to(memory_format=torch.channels_last)
    model.net.eval()
    precision = pick_precision(config.precision, device, model.net)
    segments = split_model(model.net, config.image_size, optimize_graph)
    identity = _identity(config, model, segments, precision, device)
    costs = _measure_costs(segments, config.image_size, precision, device)
    return SplitNetwork(config.backbone.name, model, segments, precision, device, identity, costs)


def optimize_graph(traced: fx.GraphModule) -> fx.GraphModule:
    """Rewrite a graph into one that computes the same in less time."""
    fold_batch_norms(traced)
    for node in traced.graph.nodes:
        conv = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        faster = _faster(conv) if type(conv) is nn.Conv2d else None
        if faster is not None:
            node.target = f"faster_{node.name}"
            traced.add_submodule(node.target, faster)
    traced.recompile()
    return traced


def _faster(conv: nn.Conv2d) -> nn.Module | None:
    """Return a module that computes the same as a convolution in less time; None if there is none."""
    if is_pointwise(conv) and conv.stride == (1, 1):
        return PointwiseConv(conv)
    return DepthwiseConv(conv) if is_wide_depthwise(conv) else None


def _identity(
    config: TrialConfig, model: Model, segments: SplitModel, precision: Computed, device: torch.device
) -> str:
    settings = (
        config.backbone.name, config.image_size, model.mean, model.std, precision, device.type, torch.__version__
    )  # fmt: skip
    digest = hashlib.sha256(repr(settings).encode())
    if model.variant != Variant():  # the tensors alone do not tell it
        digest.update(repr(model.variant).encode())
    if config.backbone.is_function:  # its code may change, where the name of a timm model and the tensors tell it all
        digest.update(repr(model.net).encode() + segments.code.encode())
    head = head_names(model.net)
    for name, tensor in model.pretrained.items():
        if name not in head:
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _measure_costs(
    segments: SplitModel, image_size: int, precision: Computed, device: torch.device
) -> dict[int, BoundaryCost]:
    costs: dict[int, BoundaryCost] = {}
    count = images_at_once(device, image_size, _EXAMPLES)
    images = torch.zeros(count, 3, image_size, image_size, device=device)
    activations: Activations = (images.contiguous(memory_format=torch.channels_last),)
    start: int | None = None
    with autocast(precision, device):
        for depth in segments.cuts:
            segments.advance(activations, start, [depth])  # the first pass folds batch norms and allocates memory
            started = now(device)
            reached = segments.advance(activations, start, [depth])[depth]
            seconds = (now(device) - started) / count
            costs[depth] = BoundaryCost(seconds, sum(tensor.nbytes for tensor in reached) // count)
            activations, start = reached, depth
    return costs


def now(device: torch.device) -> float:
    """Return the time in seconds after a device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
