"""Read the domain and the conditions of one dimension from YAML nodes."""

from dataclasses import dataclass
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode

from study.space.backbones import NAME, read_backbones
from study.space.dimension import ALL, Choices, Condition, Dimension, Domain, FixedSetting, Range
from study.space.document import MappingEntries, YamlDocument
from study.space.ranges import range_faults
from study.space.settings import check_value, unknown_setting

_RANGE_KEYS = ("type", "low", "high", "step", "log", "when")
_DIMENSION_KEYS = {
    "float": _RANGE_KEYS,
    "int": _RANGE_KEYS,
    "categorical": ("type", "choices", "when"),
}

_LARGEST = 1e15
"""Larger numbers are refused: floats do not represent all integers there, and no setting is near it."""


@dataclass(frozen=True, slots=True)
class OtherSettings:
    """The other settings of a space, for the conditions of a dimension."""

    dimensions: dict[str, Dimension]
    """The dimensions further up: conditions can be on these."""
    fixed: dict[str, FixedSetting]
    searched: tuple[str, ...]
    """The paths of all dimensions, in their order."""


def read_dimension(document: YamlDocument, path: str, node: Node, others: OtherSettings) -> Dimension | None:
    """Read the dimension of a path; return None if its faults leave no domain.

    Args:
        document: the node's document; faults are added to it.
        path: the setting that is searched.
        node: the value of the path in the YAML.
        others: the other settings of the space.
    """
    entries = document.mapping(node, path)
    if not isinstance(node, MappingNode):
        return None
    kind = document.value(entries["type"]) if "type" in entries else None
    if kind not in _DIMENSION_KEYS:
        problem = f"unknown type {kind!r}" if "type" in entries else "type is missing"
        document.fault(entries.get("type", node), f"{path}: {problem}; choose float, int or categorical")
        return None
    entries = document.known(entries, path, _DIMENSION_KEYS[kind])
    if kind == "categorical":
        domain = _read_choices(document, path, node, entries)
    else:
        domain = _read_range(document, path, node, entries, whole=kind == "int")
    when = _read_when(document, path, entries["when"], others) if "when" in entries else ()
    return Dimension(path, domain, when) if domain is not None else None


def _read_range(
    document: YamlDocument, path: str, node: Node, entries: MappingEntries, *, whole: bool
) -> Domain | None:
    for missing in {"low", "high"} - entries.keys():
        document.fault(node, f"{path}: {missing} is missing; give low and high")
    numbers = {
        key: _read_number(document, entries[key], path, key, whole=whole)
        for key in ("low", "high", "step")
        if key in entries
    }
    log = document.value(entries["log"]) if "log" in entries else False
    if not isinstance(log, bool):
        document.fault(entries["log"], f"{path}: log should be true or false, got {log!r}")
        return None
    low, high = numbers.get("low"), numbers.get("high")
    if low is None or high is None or numbers.get("step", 0) is None:
        return None
    domain = Range(low, high, numbers.get("step"), log, whole)
    faults = range_faults(path, domain)
    for key, problem in faults:
        document.fault(entries.get(key, node), f"{path}: {problem}")
    return None if faults else domain


def _read_number(document: YamlDocument, node: Node, path: str, key: str, *, whole: bool = False) -> float | None:
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
    options: list[Any] = []
    for option_node in document.sequence(entries["choices"], f"{path}: choices"):
        option = read_setting(document, option_node, path)
        if option in options:
            document.fault(option_node, f"{path}: {option!r} is among the choices twice; keep one")
        options.append(option)
    return Choices(tuple(options)) if options else None


def _read_when(document: YamlDocument, path: str, node: Node, others: OtherSettings) -> tuple[Condition, ...]:
    conditions = []
    entries = document.mapping(node, f"{path}: when")
    for other, condition_node in entries.items():
        if other in others.dimensions:
            conditions.append(_read_condition(document, other, condition_node))
        elif problem := _condition_fault(other, path, others):
            document.fault(entries.lines[other], f"{path}: when: {problem}")
    return tuple(conditions)


def _condition_fault(other: str, path: str, others: OtherSettings) -> str | None:
    """Return why a dimension cannot have a condition on a setting that is not searched further up.

    None if that setting is searched further up but has faults of its own, which are reported there.
    """
    if other in others.fixed:
        return f"{other} is fixed, so this is always or never so; remove the condition or search {other}"
    if other == path:
        return "a dimension cannot depend on itself; name another one"
    if other in others.searched:
        later = others.searched.index(other) > others.searched.index(path)
        return f"{other} is searched further down; move it above {path}" if later else None
    return unknown_setting(other) or f"{other} is not searched; search it above {path}, or remove the condition"


def _read_condition(document: YamlDocument, other: str, node: Node) -> Condition:
    if isinstance(node, MappingNode):
        bounds = document.known(document.mapping(node, f"when: {other}"), f"when: {other}", ("min", "max"))
        if not node.value:
            document.fault(node, f"when: {other}: give min, max or both")
        low, high = (
            _read_number(document, bounds[key], other, key) if key in bounds else None for key in ("min", "max")
        )
        return Condition(other, minimum=-ALL if low is None else low, maximum=ALL if high is None else high)
    nodes = [node] if isinstance(node, ScalarNode) else document.sequence(node, f"when: {other}")
    return Condition(other, among=tuple(read_setting(document, value_node, other) for value_node in nodes))


def read_setting(document: YamlDocument, node: Node, path: str) -> Any:
    """Return a value converted to its setting's type; ``all`` of depth is ``ALL``."""
    value = document.value(node)
    if not isinstance(node, ScalarNode):
        return None
    if path == "depth" and value == "all":
        return ALL
    value, problem = check_value(path, value)
    if problem is not None:
        document.fault(node, f"{path}: {problem}")
    return value
