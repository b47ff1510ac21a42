"""Backbones: any timm model by name, or a network of one's own, with pretrained weights and a new head."""

import contextlib
import difflib
import functools
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import timm
import torch
import torch.nn.functional as F
from timm.data import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_INCEPTION_MEAN,
    IMAGENET_INCEPTION_STD,
)
from timm.layers.drop import DropPath
from torch import Tensor, nn

from drft.config.trial_config import NAMED_WEIGHTS, BackboneConfig, TrialConfig
from drft.errors import BackboneError, WeightsError
from drft.files.home import expand_home
from drft.models.blocks import Block, FreezeRow, freeze_map, head_modules, head_names, list_blocks
from drft.models.coral_head import CoralHead
from drft.models.imagenet_weights import imagenet_weights
from drft.models.mae_weights import from_mae
from drft.models.own_network import build_own
from drft.models.probabilities import ClassProbabilities, make_probabilities
from drft.models.strided_conv import replace_strided_pointwise_convs
from drft.models.torchvision_weights import from_torchvision, set_batch_norm_eps
from drft.models.variant import Variant
from drft.models.weights import (
    WITHOUT_HUB,
    Channels,
    WeightFile,
    embedded_weights,
    fit_weights,
    fitting_states,
    hub_offline,
    hub_reachable,
    read_weights,
)

_NORMALIZATIONS: Mapping[str, tuple[Channels, Channels]] = {
    "imagenet": (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
    "half": (IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD),
}

_NO_WEIGHTS = (OSError, RuntimeError, ValueError)  # raised by timm and the hub client when they find no weights

_OTHER_CLASS_COUNT = -1  # never equal to the network's, so that timm loads no classifier


@dataclass(frozen=True)
class Model:
    """A pretrained network with a new head."""

    net: nn.Module
    """The network. It maps normalized images (n, 3, size, size) to outputs (n, classes)."""
    dropout: "HeadDropout" = field(repr=False)
    """Dropout of the classifier's inputs in training."""
    blocks: tuple[Block, ...]
    """The blocks of the backbone, stem first."""
    mean: Channels
    """Channel means of the inputs, for images in [0, 1]."""
    std: Channels
    """Channel standard deviations of the inputs, for images in [0, 1]."""
    pretrained: Mapping[str, Tensor] = field(repr=False)
    """The state of ``net`` before any training, on the CPU."""
    variant: Variant
    """How ``net`` differs from timm's network of this name."""
    probabilities: ClassProbabilities = field(repr=False)
    """Maps the outputs of ``net`` to log-probabilities."""
    coral_head: CoralHead = field(repr=False)
    """Turns the weight sharing of CORAL on and off."""

    def start_anew(self, seed: int, dropout: float, *, shared_score: bool = False) -> None:
        """Reset the model to its state before training, with another head and dropout rate.

        The result equals a newly built model, except that random (not pretrained) blocks keep their first values.

        Args:
            seed: seed of the head's weights.
            dropout: rate of the dropout before the classifier.
            shared_score: whether all grades share one score, as in CORAL.
        """
        self.net.load_state_dict(self.pretrained)
        draw_head(self.net, seed)
        self.dropout.rate = dropout
        self.coral_head.turn_off()
        if shared_score:
            self.coral_head.turn_on()

    def log_probabilities(self, images: Tensor) -> Tensor:
        """Return the log-probabilities of normalized images (n, 3, size, size), shape (n, classes)."""
        log_probabilities: Tensor = self.probabilities(self.net(images))
        return log_probabilities


class HeadDropout:
    """Dropout (Srivastava et al. 2014) before the classifier, as a hook, so that it is the same for every backbone.

    timm models keep their own dropout in a module or in an attribute, and some read its rate only when they are built.
    """

    def __init__(self, net: nn.Module, rate: float) -> None:
        self.rate = rate
        for head in head_modules(net):
            head.register_forward_pre_hook(self._drop)

    def _drop(self, head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not (head.training and self.rate):
            return inputs
        return (F.dropout(inputs[0], self.rate), *inputs[1:])


def draw_head(net: nn.Module, seed: int) -> None:
    """Draw the weights of the classifier as torch initializes its layers; they depend on nothing but the seed."""
    heads = [head for head in head_modules(net) if any(True for _ in head.parameters())]
    devices = [next(head.parameters()).device for head in heads]
    with _seeded(seed):
        for head in heads:
            head.to("cpu")  # a GPU has another random generator, and equal seeds should give equal heads
            for module in head.modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
    for head, device in zip(heads, devices, strict=True):
        head.to(device)


def build_model(
    config: TrialConfig, classes: int = 5, seed: int | None = None, variant: Variant | None = None
) -> Model:
    """Build the backbone of a configuration with a new head of ``classes`` outputs.

    Equal configuration, classes and seed give equal tensors. The head does not depend on the source of the weights.

    Args:
        config: its ``backbone``, ``image_size``, ``dropout`` and kind of loss are used.
        classes: number of outputs of the head.
        seed: seed of the random initialization; None for that of the configuration.
        variant: how a network with random weights differs from timm's; other weights tell it themselves.

    Raises:
        BackboneError: when there is no such model, or the model has no classifier, or no stochastic depth
            though the configuration sets it.
        WeightsError: when the weights are missing, damaged, unreachable or of another model.
    """
    seed = config.seed if seed is None else seed
    with _quiet_timm(), _seeded(seed):
        net, file = _pretrained_net(config, classes, variant or Variant())
    replace_strided_pointwise_convs(net)
    draw_head(net, seed)
    has_drop_path = any(isinstance(module, DropPath) and module.drop_prob for module in net.modules())
    if config.backbone.drop_path and not has_drop_path:
        raise BackboneError(f"backbone.drop_path: {config.backbone.name} has no stochastic depth, set it to 0")
    mean, std = _normalization(config.backbone, net, file)
    _pretrained_cfg(net).update(input_size=(3, config.image_size, config.image_size))
    pretrained = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    return Model(
        net=net,
        dropout=HeadDropout(net, config.dropout),
        blocks=list_blocks(net),
        mean=mean,
        std=std,
        pretrained=pretrained,
        variant=file.variant if file else variant or Variant(),
        probabilities=make_probabilities(config.loss.kind, classes),
        coral_head=CoralHead(net),
    )


def block_count(name: str) -> int:
    """Return the number of blocks of a backbone, without allocating its weights.

    Raises:
        BackboneError: when timm has no such model or the model has no blocks.
    """
    return len(list_blocks(_skeleton(name)))


def describe_backbone(name: str) -> tuple[FreezeRow, ...]:
    """Return the freeze map of a backbone, without allocating its weights.

    Raises:
        BackboneError: when timm has no such model or the model has no blocks.
    """
    return freeze_map(_skeleton(name))


def _pretrained_cfg(net: nn.Module) -> dict[str, Any]:
    """Return timm's description of a model's inputs and weights; ``build_model`` sets the input size that is used."""
    return cast("dict[str, Any]", net.pretrained_cfg)


def _pretrained_net(config: TrialConfig, classes: int, variant: Variant) -> tuple[nn.Module, WeightFile | None]:
    backbone = config.backbone
    if backbone.weights == "none":
        return _create(config, classes, variant), None
    if backbone.is_function:
        return _own_from_file(config, classes)
    if backbone.weights == "hub":
        return _from_hub(config, classes), None
    return _from_file(config, classes)


def _own_from_file(config: TrialConfig, classes: int) -> tuple[nn.Module, WeightFile]:
    """As ``_from_file``, of a network of one's own."""
    name, weights = config.backbone.name, config.backbone.weights
    if weights in NAMED_WEIGHTS:
        raise WeightsError(
            f"weights {weights!r} are of timm's networks: for {name}, choose none (the network as its function returns "
            "it) or a file"
        )
    net = build_own(name, classes)
    expected = _weights_to_find(net)
    file = read_weights(expand_home(weights))
    found = fit_weights(file, name, expected)
    net.load_state_dict({key: found[key] for key in expected}, strict=False)
    return net, file


def _from_file(config: TrialConfig, classes: int) -> tuple[nn.Module, WeightFile]:
    """Return the network with the weights of a file, and the file with the names that the network has for them."""
    backbone, weights = config.backbone.name, config.backbone.weights
    skeleton = _skeleton(backbone)
    expected = _weights_to_find(skeleton)
    if weights == "embedded":
        file = embedded_weights(backbone)
    elif weights == "imagenet":
        file = imagenet_weights(backbone, expected)
    else:
        file = read_weights(expand_home(weights))
    file, expected = from_mae(file, backbone, skeleton, expected)
    if not fitting_states(file, expected):
        file = from_torchvision(file, backbone, expected) or file
    found = fit_weights(file, backbone, expected)
    # timm takes some names beside those of the network for a sign of another kind of file
    tensors = {name: tensor for name, tensor in found.items() if name in expected or name in skeleton.state_dict()}
    source = {"state_dict": dict(tensors), "num_classes": _OTHER_CLASS_COUNT, "custom_load": False}
    net = _create(config, classes, file.variant, pretrained=True, pretrained_cfg_overlay=source)
    # timm resamples some tensors for another input size. All others must be those of the file: timm may also convert
    # weights that it takes for those of a related model.
    state = net.state_dict()
    same_shape = [name for name in expected if state[name].shape == tensors[name].shape]
    if not all(torch.equal(state[name], tensors[name].to(state[name].dtype)) for name in same_shape):
        raise WeightsError(f"{file.path}: timm reads these weights as those of another model than {backbone}")
    _pretrained_cfg(net).update(state_dict=None, num_classes=classes)
    return net, file


def _weights_to_find(net: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that a file must have: all but the classifier and counters of batches."""
    head = head_names(net)
    return {
        name: tensor
        for name, tensor in net.state_dict().items()
        if name not in head and not name.endswith("num_batches_tracked")
    }


def _from_hub(config: TrialConfig, classes: int) -> nn.Module:
    """Build the network with the weights of the local hub cache, else of the hub."""
    name, rng_state = config.backbone.name, torch.get_rng_state()
    try:
        with hub_offline():
            return _create(config, classes, Variant(), pretrained=True)
    except _NO_WEIGHTS:
        torch.set_rng_state(rng_state)  # the second attempt draws the same random tensors as the first
    if not hub_reachable():
        raise WeightsError(
            f"{name}: weights are not in the local cache and the hub is out of reach: {WITHOUT_HUB}"
        ) from None
    try:
        return _create(config, classes, Variant(), pretrained=True)
    except _NO_WEIGHTS as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{name}: no weights from timm's hub ({reason}): {WITHOUT_HUB}") from None


def _create(config: TrialConfig, classes: int, variant: Variant, **options: Any) -> nn.Module:
    backbone = config.backbone
    if backbone.is_function:
        return build_own(backbone.name, classes)
    cfg = _pretrained_cfg(_skeleton(backbone.name))
    options |= {"num_classes": classes}
    if cfg.get("fixed_input_size") and cfg["input_size"][-1] != config.image_size:
        options["img_size"] = config.image_size
    if variant.global_pool is not None:
        options["global_pool"] = variant.global_pool
    if backbone.drop_path:
        options["drop_path_rate"] = backbone.drop_path
    try:
        net: nn.Module = timm.create_model(backbone.name, **options)
    except (TypeError, AssertionError) as error:
        raise BackboneError(f"{backbone.name}: timm cannot build it with these settings ({error})") from None
    if variant.batch_norm_eps is not None:
        set_batch_norm_eps(net, variant.batch_norm_eps)
    return net


def _normalization(backbone: BackboneConfig, net: nn.Module, file: WeightFile | None) -> tuple[Channels, Channels]:
    if backbone.normalization != "auto":
        return _NORMALIZATIONS[backbone.normalization]
    if file and (stored := file.normalization()):
        return stored
    mean, std = (tuple(_pretrained_cfg(net)[key]) for key in ("mean", "std"))
    return mean, std


@functools.lru_cache(maxsize=8)
def _skeleton(name: str) -> nn.Module:
    """Return the model at its native size on the meta device: tensors have names and shapes but no values.

    A network of one's own is built as it is: its function may read files.
    """
    if BackboneConfig(name=name).is_function:
        with _seeded(0):
            return build_own(name, classes=2)
    if name not in _known_names():
        models = timm.list_models()
        near = [model for model in models if model.startswith(name)][:3] or difflib.get_close_matches(name, models, n=3)
        hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else "; timm.list_models() lists all of them"
        raise BackboneError(f"unknown backbone {name!r}{hint}")
    with _quiet_timm(), torch.device("meta"):
        try:
            net: nn.Module = timm.create_model(name)
        except (RuntimeError, NotImplementedError, ValueError) as error:
            raise BackboneError(f"{name}: timm cannot build this backbone ({error})") from None
    return net


@functools.cache
def _known_names() -> frozenset[str]:
    """Return the names of timm's models, without and with their pretrained tags (``resnet18.a1_in1k``)."""
    return frozenset((*timm.list_models(), *timm.list_pretrained()))


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextlib.contextmanager
def _quiet_timm() -> Iterator[None]:
    """Silence timm's messages about loading: what matters in them is checked and raised here."""
    logger = logging.getLogger("timm")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
