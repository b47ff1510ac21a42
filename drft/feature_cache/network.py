"""A backbone that is ready for training at any depth: its model, its boundaries, and what each costs."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from drft.config.trial_config import TrialConfig
from drft.feature_cache.fuse_batch_norm import fold_batch_norms
from drft.feature_cache.pointwise_conv import replace_point_convs
from drft.feature_cache.split_model import SplitModel, split_model
from drft.models.backbone import Model, build_model
from drft.models.blocks import head_names
from drft.models.devices import Computed, autocast, pick_precision
from drft.models.probabilities import ClassProbabilities

_EXAMPLES = 8
"""Images that a cost is measured on."""


@dataclass(frozen=True)
class SplitNetwork:
    """A model that outlives a trial, with the boundaries at which it can be cut."""

    name: str
    """timm's name of the backbone."""
    model: Model
    chain: SplitModel
    precision: Computed
    device: torch.device
    identity: str
    """Digest of all that the activations of an image depend on, but the image and the boundary."""
    costs: Mapping[int, "BoundaryCost"]
    """Of each boundary, deepest first."""

    def with_link(self, link: ClassProbabilities) -> "SplitNetwork":
        """Return the same network with another link."""
        return replace(self, model=replace(self.model, link=link.to(self.device)))

    @property
    def images_at(self) -> int:
        """The depth that stands for the boundary before the network: images that are not yet normalized."""
        return self.chain.block_count + 1


@dataclass(frozen=True, slots=True)
class BoundaryCost:
    """What it takes to come to a boundary from the one before it, and to keep what crosses it."""

    seconds: float
    """Of computing, an image."""
    nbytes: int
    """Of activations, an image."""


def build_network(config: TrialConfig, classes: int, device: torch.device) -> SplitNetwork:
    """Build the model of a configuration on a device, cut it at its boundaries, and measure what they cost.

    Raises:
        BackboneError: when the backbone or its weights do not exist.
        ConfigError: when the device does not have the precision.
    """
    model = build_model(config, classes)
    model.net.to(device)
    model.net.to(memory_format=torch.channels_last)
    model.net.eval()
    precision = pick_precision(config.precision, device, model.net)
    chain = split_model(model.net, config.image_size, _faster)
    identity = _identity(config, model, precision, device)
    costs = _measure(chain, config.image_size, precision, device)
    return SplitNetwork(config.backbone.name, model, chain, precision, device, identity, costs)


def _faster(traced: fx.GraphModule) -> fx.GraphModule:
    """Rewrite a graph into one that computes the same in less time."""
    return replace_point_convs(fold_batch_norms(traced))


def _identity(config: TrialConfig, model: Model, precision: Computed, device: torch.device) -> str:
    said = (config.backbone.name, config.image_size, model.mean, model.std, precision, device.type, torch.__version__)
    digest = hashlib.sha256(repr(said).encode())
    head = head_names(model.net)
    for name, tensor in model.pretrained.items():
        if name not in head:
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _measure(chain: SplitModel, image_size: int, precision: Computed, device: torch.device) -> dict[int, BoundaryCost]:
    costs: dict[int, BoundaryCost] = {}
    activations: tuple[Tensor, ...] = (torch.zeros(_EXAMPLES, 3, image_size, image_size, device=device),)
    activations = (activations[0].contiguous(memory_format=torch.channels_last),)
    before: int | None = None
    with autocast(precision, device):
        for depth in chain.cuts:
            chain.advance(activations, before, [depth])  # the first time folds and allocates
            started = now(device)
            crossing = chain.advance(activations, before, [depth])[depth]
            seconds = (now(device) - started) / _EXAMPLES
            costs[depth] = BoundaryCost(seconds, sum(tensor.nbytes for tensor in crossing) // _EXAMPLES)
            activations, before = crossing, depth
    return costs


def now(device: torch.device) -> float:
    """Return the time in seconds when all that was asked of a device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
