"""The backbones that a space searches: the settings of each, and depth as a share of its blocks."""

import math
from dataclasses import dataclass
from typing import Any

from yaml.nodes import MappingNode, Node

from drft.config.trial_config import BackboneConfig
from study.space.dimension import Choices
from study.space.document import YamlDocument
from study.space.settings import check_value

NAME, WEIGHTS = "backbone.name", "backbone.weights"
_SETTINGS = tuple(key for key in BackboneConfig.model_fields if key != "name")


@dataclass(frozen=True, slots=True)
class Backbones(Choices):
    """Names of timm models, each with settings of its own."""

    brought: tuple[tuple[tuple[str, Any], ...], ...] = ()
    """For each of the options, pairs of a setting's path and its value."""

    def settings(self, name: str) -> dict[str, Any]:
        """Return the settings of a backbone by their paths: name, weights, and any others that the space lists."""
        return {NAME: name, **dict(self.brought[self.options.index(name)])}

    def __str__(self) -> str:
        return ", ".join(f"{name} ({self.settings(str(name))[WEIGHTS]})" for name in self.options)


def default_weights(name: str) -> str:
    """Return the default weights of a backbone: those in this package for its own, none for a function, else timm's."""
    default = BackboneConfig()
    if BackboneConfig(name=name).is_function:
        return "none"  # the network as the function returns it
    return default.weights if name == default.name else "hub"


def blocks_at(fraction: float, blocks: int) -> int:
    """Return the depth that is this share of a backbone's blocks, rounded to the nearest integer, halves upwards."""
    return math.floor(fraction * blocks + 0.5)  # round() would round halves to even integers


def read_backbones(document: YamlDocument, node: Node) -> Backbones | None:
    """Read the choices of ``backbone.name``: a list of names, or a mapping from names to weights or settings.

    ``{resnet18: hub, vit_tiny_patch16_224: {weights: vit.safetensors, normalization: half}}``.

    Returns:
        The backbones; None if there are none without a fault.
    """
    settings: dict[str, dict[str, Any]] = {}
    if isinstance(node, MappingNode):
        for name, value_node in document.mapping(node, f"{NAME}: choices").items():
            settings[name] = _read_settings(document, name, value_node)
    else:
        for name_node in document.sequence(node, f"{NAME}: choices"):
            name = document.value(name_node)
            if not isinstance(name, str):
                document.fault(name_node, f"{NAME}: a choice should be the name of a timm model, got {name!r}")
            elif name in settings:
                document.fault(name_node, f"{NAME}: {name!r} is among the choices twice; keep one")
            else:
                settings[name] = {}
    if not settings:
        return None
    complete = ({WEIGHTS: default_weights(name), **values} for name, values in settings.items())
    return Backbones(tuple(settings), tuple(tuple(sorted(values.items())) for values in complete))


def _read_settings(document: YamlDocument, name: str, node: Node) -> dict[str, Any]:
    """Read the settings of one backbone: a mapping, or its weights alone."""
    nodes: dict[str, Node] = {"weights": node}
    if isinstance(node, MappingNode):
        nodes = document.known(document.mapping(node, name), name, _SETTINGS)
    settings = {}
    for key, value_node in nodes.items():
        path = f"backbone.{key}"
        settings[path], problem = check_value(path, document.value(value_node))
        if problem is not None:
            document.fault(value_node, f"{name}: {key}: {problem}")
    return settings
