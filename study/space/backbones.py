"""The backbones a space may choose from: what each brings along, and depth as a share of its blocks."""

import math
from dataclasses import dataclass
from typing import Any

from yaml.nodes import MappingNode, Node

from drft.config.trial_config import BackboneConfig
from study.space.dimension import Choices
from study.space.document import YamlDocument
from study.space.settings import checked

NAME, WEIGHTS = "backbone.name", "backbone.weights"
_BROUGHT = tuple(key for key in BackboneConfig.model_fields if key != "name")


@dataclass(frozen=True, slots=True)
class Backbones(Choices):
    """Names of timm models, and the settings that go with each."""

    brought: tuple[tuple[tuple[str, Any], ...], ...] = ()
    """Settings by their paths, for each of the options."""

    def settings(self, name: str) -> dict[str, Any]:
        """Return what the choice of a backbone sets: its name, weights and whatever else was said of it."""
        return {NAME: name, **dict(self.brought[self.options.index(name)])}

    def __str__(self) -> str:
        return ", ".join(f"{name} ({self.settings(str(name))[WEIGHTS]})" for name in self.options)


def default_weights(name: str) -> str:
    """Return the weights of a backbone of which nothing is said: those shipped with this package, or timm's."""
    default = BackboneConfig()
    return default.weights if name == default.name else "hub"


def blocks_at(fraction: float, blocks: int) -> int:
    """Return the depth that is this share of a backbone's blocks: the nearest whole number, halves upwards."""
    return math.floor(fraction * blocks + 0.5)


def read_backbones(document: YamlDocument, node: Node) -> Backbones | None:
    """Read the choices of ``backbone.name``: a list of names, or a mapping from names to weights or settings.

    ``{resnet18: hub, vit_tiny_patch16_224: {weights: vit.safetensors, normalization: half}}``.
    """
    if isinstance(node, MappingNode):
        entries = document.mapping(node, f"{NAME}: choices")
        said = {name: _read_settings(document, name, value) for name, value in entries.items()}
    else:
        names = [(one, document.value(one)) for one in document.sequence(node, f"{NAME}: choices")]
        said = {}
        for one, name in names:
            if not isinstance(name, str):
                document.fault(one, f"{NAME}: a choice should be the name of a timm model, got {name!r}")
            elif name in said:
                document.fault(one, f"{NAME}: {name!r} is among the choices twice; keep one")
            else:
                said[name] = {}
    if not said:
        return None
    whole = ({WEIGHTS: default_weights(name), **settings} for name, settings in said.items())
    return Backbones(tuple(said), tuple(tuple(sorted(settings.items())) for settings in whole))


def _read_settings(document: YamlDocument, name: str, node: Node) -> dict[str, Any]:
    """Read what is said of one backbone: its weights alone, or several settings."""
    if not isinstance(node, MappingNode):
        return _read_one(document, name, "weights", node)
    entries = document.known(document.mapping(node, name), name, _BROUGHT)
    return {path: value for key, one in entries.items() for path, value in _read_one(document, name, key, one).items()}


def _read_one(document: YamlDocument, name: str, key: str, node: Node) -> dict[str, Any]:
    path = f"backbone.{key}"
    value, problem = checked(path, document.value(node))
    if problem is not None:
        document.fault(node, f"{name}: {key}: {problem}")
    return {path: value}
