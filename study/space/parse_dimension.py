"""From the YAML nodes of one dimension to its domain and conditions."""

from dataclasses import dataclass
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode

from study.space.backbones import NAME, read_backbones
from study.space.dimension import ALL, Choices, Condition, Dimension, Domain, FixedSetting, Range
from study.space.document import MappingEntries, YamlDocument
from study.space.ranges import range_faults
from study.space.settings import checked, unknown

_RANGE_KEYS = ("type", "low", "high", "step", "log", "when")
_DIMENSION_KEYS = {
    "float": _RANGE_KEYS,
    "int": _RANGE_KEYS,
    "categorical": ("type", "choices", "when"),
}

_LARGEST = 1e15
"""No setting comes near it; beyond, whole numbers are no longer exact."""


@dataclass(frozen=True, slots=True)
class KnownDimensions:
    """What a condition may look at, and what it may not."""

    dimensions: dict[str, Dimension]
    fixed: dict[str, FixedSetting]
    written: tuple[str, ...]


def read_dimension(document: YamlDocument, path: str, node: Node, earlier: KnownDimensions) -> Dimension | None:
    """Read the dimension of a path; None where it is too wrong to go on with.

    Args:
        document: what the node belongs to, and remembers its faults.
        path: the setting that is searched.
        node: what is said of it.
        earlier: what its conditions may look at.
    """
    entries = document.mapping(node, path)
    if not isinstance(node, MappingNode):
        return None
    kind = document.value(entries["type"]) if "type" in entries else None
    if kind not in _DIMENSION_KEYS:
        said = f"unknown type {kind!r}" if "type" in entries else "type is missing"
        document.fault(entries.get("type", node), f"{path}: {said}; choose float, int or categorical")
        return None
    entries = document.known(entries, path, _DIMENSION_KEYS[kind])
    domain = _read_choices(document, path, node, entries) if kind == "categorical" else None
    if kind != "categorical":
        domain = _read_range(document, path, node, entries, whole=kind == "int")
    when = _read_when(document, path, entries["when"], earlier) if "when" in entries else ()
    return Dimension(path, domain, when) if domain is not None else None


def _read_range(
    document: YamlDocument, path: str, node: Node, entries: MappingEntries, *, whole: bool
) -> Domain | None:
    for missing in {"low", "high"} - entries.keys():
        document.fault(node, f"{path}: {missing} is missing; give low and high")
    numbers = {
        key: _number(document, entries[key], path, key, whole=whole)
        for key in ("low", "high", "step")
        if key in entries
    }
    log = document.value(entries["log"]) if "log" in entries else False
    if not isinstance(log, bool):
        document.fault(entries["log"], f"{path}: log should be true or false, got {log!r}")
        return None
    low, high = numbers.get("low"), numbers.get("high")
    if low is None or high is None or (numbers.get("step", 0) is None):
        return None
    domain = Range(low, high, numbers.get("step"), log, whole)
    faults = range_faults(path, domain)
    for key, problem in faults:
        document.fault(entries.get(key, node), f"{path}: {problem}")
    return None if faults else domain


def _number(document: YamlDocument, node: Node, path: str, key: str, *, whole: bool = False) -> float | None:
    value = document.value(node)
    if value == "all" and path == "depth" and key != "step":
        return ALL
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        document.fault(node, f"{path}: {key} should be a number, got {value!r}")
        return None
    if whole and value != int(value):
        document.fault(node, f"{path}: {key} should be a whole number, got {value}; use type: float for others")
        return None
    return int(value) if whole else float(value)


def _read_choices(document: YamlDocument, path: str, node: Node, entries: MappingEntries) -> Domain | None:
    if "choices" not in entries:
        document.fault(node, f"{path}: choices is missing; give a list of values")
        return None
    if path == NAME:
        return read_backbones(document, entries["choices"])
    nodes = document.sequence(entries["choices"], f"{path}: choices")
    options: list[Any] = []
    for option_node in nodes:
        option = read_setting(document, option_node, path)
        if option in options:
            document.fault(option_node, f"{path}: {option!r} is among the choices twice; keep one")
        options.append(option)
    return Choices(tuple(options)) if options else None


def _read_when(document: YamlDocument, path: str, node: Node, earlier: KnownDimensions) -> tuple[Condition, ...]:
    conditions = []
    entries = document.mapping(node, f"{path}: when")
    for other, wanted in entries.items():
        problem = _unusable(other, path, earlier)
        if problem is not None:
            document.fault(entries.lines[other], f"{path}: when: {problem}")
        elif other in earlier.dimensions:
            conditions.append(_read_condition(document, other, wanted))
    return tuple(conditions)


def _unusable(other: str, path: str, earlier: KnownDimensions) -> str | None:
    if other in earlier.dimensions:
        return None
    if other in earlier.fixed:
        return f"{other} is fixed, so this is always or never so; remove the condition or search {other}"
    if other == path:
        return "a dimension cannot depend on itself; name another one"
    if other in earlier.written:
        later = earlier.written.index(other) > earlier.written.index(path)
        return f"{other} is searched further down; move it above {path}" if later else None
    return unknown(other) or f"{other} is not searched; search it above {path}, or remove the condition"


def _read_condition(document: YamlDocument, other: str, node: Node) -> Condition:
    if isinstance(node, MappingNode):
        bounds = document.known(document.mapping(node, f"when: {other}"), f"when: {other}", ("min", "max"))
        if not node.value:
            document.fault(node, f"when: {other}: give min, max or both")
        low, high = (_number(document, bounds[key], other, key) if key in bounds else None for key in ("min", "max"))
        return Condition(other, minimum=-ALL if low is None else low, maximum=ALL if high is None else high)
    nodes = [node] if isinstance(node, ScalarNode) else document.sequence(node, f"when: {other}")
    return Condition(other, among=tuple(read_setting(document, value, other) for value in nodes))


def read_setting(document: YamlDocument, node: Node, path: str) -> Any:
    """Return a value as its setting reads it; ``all`` stands for every block."""
    value = document.value(node)
    if not isinstance(node, ScalarNode):
        return None
    if path == "depth" and value == "all":
        return ALL
    value, problem = checked(path, value)
    if problem is not None:
        document.fault(node, f"{path}: {problem}")
    return value
