"""Backbones: any timm model by name, with pretrained weights and a fresh head."""

import contextlib
import difflib
import functools
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import timm
import torch
import torch.nn.functional as F
from timm.layers.drop import DropPath
from torch import Tensor, nn

from drft.config.trial_config import BackboneConfig, TrialConfig
from drft.errors import BackboneError, WeightsError
from drft.models.blocks import Block, FreezeRow, freeze_map, head_module, head_names, list_blocks
from drft.models.coral_head import CoralHead
from drft.models.probabilities import ClassProbabilities, make_probabilities
from drft.models.strided_conv import replace_strided_point_convs
from drft.models.weights import (
    WITHOUT_HUB,
    Channels,
    WeightFile,
    check_fit,
    embedded_weights,
    hub_offline,
    hub_reachable,
    read_weights,
)

_NORMALIZATIONS: Mapping[str, tuple[Channels, Channels]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}

_NO_WEIGHTS = (OSError, RuntimeError, ValueError)  # what timm and the hub client raise without weights

_ANY_OTHER_CLASS_COUNT = -1  # never equals the net's, so that timm leaves the fresh head alone


@dataclass(frozen=True)
class Model:
    """A pretrained network with a fresh head."""

    net: nn.Module
    """The timm model; maps normalized images (n, 3, size, size) to outputs (n, classes)."""
    dropout: "HeadDropout" = field(repr=False)
    """What the classifier's input goes through in training."""
    blocks: tuple[Block, ...]
    mean: Channels
    """Channel means of its inputs, for images in [0, 1]."""
    std: Channels
    pretrained: Mapping[str, Tensor] = field(repr=False)
    """The state of ``net`` before any training, on the CPU."""
    link: ClassProbabilities = field(repr=False)
    """Maps what ``net`` puts out to log-probabilities."""
    shared_score: CoralHead = field(repr=False)
    """Whether all grades share the score of the classifier's first output."""

    def start_anew(self, seed: int, dropout: float, *, shared_score: bool = False) -> None:
        """Undo all training: pretrained blocks, the head that ``seed`` draws, this dropout before it.

        What comes out is equal to a model built anew, but for random (not pretrained) blocks, which stay as they are.
        """
        self.net.load_state_dict(self.pretrained)
        draw_head(self.net, seed)
        self.dropout.rate = dropout
        self.shared_score.turn_off()
        if shared_score:
            self.shared_score.turn_on()

    def log_probabilities(self, images: Tensor) -> Tensor:
        """Return the log-probabilities of normalized images (n, 3, size, size), shape (n, classes)."""
        told: Tensor = self.link(self.net(images))
        return told


class HeadDropout:
    """Dropout (Srivastava et al. 2014) before the classifier, as a hook: the same for every backbone.

    timm keeps it in a module here and in an attribute there, and some models read it once, when they are built.
    """

    def __init__(self, net: nn.Module, rate: float) -> None:
        self.rate = rate
        head_module(net).register_forward_pre_hook(self._drop)

    def _drop(self, head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not (head.training and self.rate):
            return inputs
        return (F.dropout(inputs[0], self.rate), *inputs[1:])


def draw_head(net: nn.Module, seed: int) -> None:
    """Draw the weights of the classifier as torch draws a new layer's: they depend on nothing but the seed."""
    with _seeded(seed):
        for module in head_module(net).modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()


def build_model(config: TrialConfig, classes: int = 5, seed: int | None = None) -> Model:
    """Build the backbone of a configuration with a fresh head of ``classes`` outputs.

    Equal configuration, classes and seed give equal tensors; the head is the same for any source of weights.

    Args:
        config: its ``backbone``, ``image_size``, ``dropout`` and kind of loss are used.
        classes: outputs of the head.
        seed: of the random initialization; None for the configuration's.

    Raises:
        BackboneError: when timm has no such model, or it has no stochastic depth or single classifier.
        WeightsError: when the weights are missing, damaged, unreachable or of another model.
    """
    seed = config.seed if seed is None else seed
    with _quiet_timm(), _seeded(seed):
        net, file = _pretrained_net(config, classes)
    replace_strided_point_convs(net)
    draw_head(net, seed)
    _check_drop_path(net, config.backbone)
    mean, std = _normalization(config.backbone, net, file)
    pretrained_cfg(net).update(input_size=(3, config.image_size, config.image_size))
    pretrained = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    link = make_probabilities(config.loss.kind, classes)
    return Model(net, HeadDropout(net, config.dropout), list_blocks(net), mean, std, pretrained, link, CoralHead(net))


def block_count(name: str) -> int:
    """Return how many blocks a backbone has, without building its weights.

    Raises:
        BackboneError: when timm has no such model or it cannot be frozen block by block.
    """
    return len(list_blocks(_skeleton(name)))


def describe_backbone(name: str) -> tuple[FreezeRow, ...]:
    """Return the freeze map of a backbone, without building its weights.

    Raises:
        BackboneError: when timm has no such model or it cannot be frozen block by block.
    """
    return freeze_map(_skeleton(name))


def pretrained_cfg(net: nn.Module) -> dict[str, Any]:
    """Return what timm knows of a model's inputs and weights; ``build_model`` sets its input size to the real one."""
    return cast("dict[str, Any]", net.pretrained_cfg)


def _pretrained_net(config: TrialConfig, classes: int) -> tuple[nn.Module, WeightFile | None]:
    backbone = config.backbone
    if backbone.weights == "none":
        return _create(config, classes), None
    if backbone.weights == "hub":
        return _from_hub(config, classes), None
    named = backbone.weights == "embedded"
    file = embedded_weights(backbone.name) if named else read_weights(Path(backbone.weights).expanduser())
    return _from_file(config, classes, file), file


def _from_file(config: TrialConfig, classes: int, file: WeightFile) -> nn.Module:
    skeleton = _skeleton(config.backbone.name)
    head = head_names(skeleton)
    wanted = {
        name: tensor
        for name, tensor in skeleton.state_dict().items()
        if name not in head and not name.endswith("num_batches_tracked")
    }
    check_fit(file, config.backbone.name, wanted)
    source = {"state_dict": dict(file.tensors), "num_classes": _ANY_OTHER_CLASS_COUNT, "custom_load": False}
    net = _create(config, classes, pretrained=True, pretrained_cfg_overlay=source)
    _check_loaded(net, config.backbone, file, list(wanted))
    pretrained_cfg(net).update(state_dict=None, num_classes=classes)
    return net


def _check_loaded(net: nn.Module, backbone: BackboneConfig, file: WeightFile, names: list[str]) -> None:
    state = net.state_dict()
    same_shape = [name for name in names if state[name].shape == file.tensors[name].shape]
    if not all(torch.equal(state[name], file.tensors[name].to(state[name].dtype)) for name in same_shape):
        raise WeightsError(f"{file.path}: timm reads these weights as of another model than {backbone.name}")


def _from_hub(config: TrialConfig, classes: int) -> nn.Module:
    """Take the weights from the local hub cache, else from the hub."""
    name, generator = config.backbone.name, torch.get_rng_state()
    try:
        with hub_offline():
            return _create(config, classes, pretrained=True)
    except _NO_WEIGHTS:
        torch.set_rng_state(generator)
    if not hub_reachable():
        raise WeightsError(
            f"{name}: weights are not in the local cache and the hub is out of reach: {WITHOUT_HUB}"
        ) from None
    try:
        return _create(config, classes, pretrained=True)
    except _NO_WEIGHTS as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{name}: no weights from timm's hub ({reason}): {WITHOUT_HUB}") from None


def _create(config: TrialConfig, classes: int, **options: Any) -> nn.Module:
    backbone, cfg = config.backbone, pretrained_cfg(_skeleton(config.backbone.name))
    options |= {"num_classes": classes}
    if cfg.get("fixed_input_size") and cfg["input_size"][-1] != config.image_size:
        options["img_size"] = config.image_size
    if backbone.drop_path:
        options["drop_path_rate"] = backbone.drop_path
    try:
        net: nn.Module = timm.create_model(backbone.name, **options)
    except (TypeError, AssertionError) as error:
        raise BackboneError(f"{backbone.name}: timm cannot build it with these settings ({error})") from None
    return net


def _check_drop_path(net: nn.Module, backbone: BackboneConfig) -> None:
    has_it = any(isinstance(module, DropPath) and module.drop_prob for module in net.modules())
    if backbone.drop_path and not has_it:
        raise BackboneError(f"backbone.drop_path: {backbone.name} has no stochastic depth, set it to 0")


def _normalization(backbone: BackboneConfig, net: nn.Module, file: WeightFile | None) -> tuple[Channels, Channels]:
    if backbone.normalization != "auto":
        return _NORMALIZATIONS[backbone.normalization]
    if file and file.mean and file.std:
        return file.mean, file.std
    mean, std = (tuple(pretrained_cfg(net)[key]) for key in ("mean", "std"))
    return mean, std


@functools.lru_cache(maxsize=8)
def _skeleton(name: str) -> nn.Module:
    """Return the model at its native size without memory behind its tensors: names and shapes only."""
    _check_name(name)
    with _quiet_timm(), torch.device("meta"):
        try:
            net: nn.Module = timm.create_model(name)
        except (RuntimeError, NotImplementedError, ValueError) as error:
            raise BackboneError(f"{name}: timm cannot build this backbone ({error})") from None
    return net


def _check_name(name: str) -> None:
    if name in _known_names():
        return
    models = timm.list_models()
    near = [model for model in models if model.startswith(name)][:3] or difflib.get_close_matches(name, models, n=3)
    hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else "; timm.list_models() names them all"
    raise BackboneError(f"unknown backbone {name!r}{hint}")


@functools.cache
def _known_names() -> frozenset[str]:
    """Return timm's architectures, bare and with their pretrained tags (``resnet18.a1_in1k``)."""
    return frozenset((*timm.list_models(), *timm.list_pretrained()))


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextlib.contextmanager
def _quiet_timm() -> Iterator[None]:
    """Silence timm's loading notes: what matters of them is checked and raised here."""
    logger = logging.getLogger("timm")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
