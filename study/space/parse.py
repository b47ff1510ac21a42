"""From YAML nodes to fixed values and dimensions, remembering every fault on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode

from drft.config import nearest
from study.space.dimension import ALL, Choices, Condition, Dimension, Domain, Fixed, Range
from study.space.document import Document, Entries, Faults
from study.space.ranges import range_faults
from study.space.settings import NEVER_FIXED, NEVER_SEARCHED, PATHS, checked, unknown

_TOP_KEYS = ("name", "question", "fixed", "search", "isolate")
_RANGE_KEYS = ("type", "low", "high", "step", "log", "when")
_DIMENSION_KEYS = {
    "float": _RANGE_KEYS,
    "int": _RANGE_KEYS,
    "categorical": ("type", "choices", "when"),
}

_LARGEST = 1e15
"""No setting comes near it; beyond, whole numbers are no longer exact."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What the YAML says, every part of it checked on its own."""

    name: str
    question: str
    fixed: tuple[Fixed, ...]
    dimensions: tuple[Dimension, ...]
    isolate: str | None


def parse(document: Document) -> Draft:
    """Read a whole space.

    Raises:
        ConfigError: with every fault of the document, each with its line.
    """
    top = document.known(document.root, "a search space", _TOP_KEYS)
    fixed = _read_fixed(document, top["fixed"]) if "fixed" in top else {}
    dimensions = _read_search(document, top.get("search"), fixed)
    draft = Draft(
        name=_text(document, top, "name"),
        question=_text(document, top, "question"),
        fixed=tuple(fixed.values()),
        dimensions=tuple(dimensions.values()),
        isolate=_read_isolate(document, top["isolate"], dimensions) if "isolate" in top else None,
    )
    check_conditions(document.faults, draft.dimensions)
    document.faults.raise_all()
    return draft


def check_conditions(faults: Faults, dimensions: Sequence[Dimension]) -> None:
    """Find the conditions that can never hold; those that wait for the number of blocks are passed over."""
    by_path = {dimension.path: dimension for dimension in dimensions}
    for dimension in dimensions:
        for condition in dimension.when:
            other = by_path[condition.path]
            waits = condition.resolved(0) != condition or other.domain.resolved(0) != other.domain
            if not waits and not condition.possible(other.domain):
                never = f"{condition} never holds, since {other.path} is {other.domain}"
                faults.add(dimension.line, f"{dimension.path}: when: {never}; widen one or the other")


def _text(document: Document, top: Entries, key: str) -> str:
    if key not in top:
        return ""
    value = document.value(top[key])
    if not isinstance(value, str):
        document.fault(top[key], f"{key} should be text, got {value!r}; put quotes around it")
    return str(value)


def _read_fixed(document: Document, node: Node, prefix: str = "") -> dict[str, Fixed]:
    """Read fixed values, written as dotted paths or nested."""
    fixed: dict[str, Fixed] = {}
    entries = document.mapping(node, prefix.rstrip(".") or "fixed")
    for key, value_node in entries.items():
        path = prefix + key
        is_group = any(known.startswith(f"{path}.") for known in PATHS)
        found = (
            _read_fixed(document, value_node, f"{path}.")
            if is_group and isinstance(value_node, MappingNode)
            else _read_fixed_value(document, value_node, path, entries.lines[key])
        )
        for twice in found.keys() & fixed.keys():
            document.fault(found[twice].line, f"{twice} is fixed twice (first on line {fixed[twice].line}); keep one")
        fixed |= found
    return fixed


def _read_fixed_value(document: Document, node: Node, path: str, line: int) -> dict[str, Fixed]:
    problem = unknown(path)
    if problem is None and path in NEVER_FIXED:
        problem = f"{path} cannot be fixed in a space: {NEVER_FIXED[path]}"
    if problem is not None:
        document.fault(line, problem)
        return {}
    return {path: Fixed(path, _setting(document, node, path), line)}


def _read_search(document: Document, node: Node | None, fixed: dict[str, Fixed]) -> dict[str, Dimension]:
    if node is None:
        document.fault(1, "search: is missing; name at least one dimension under it")
        return {}
    entries = document.mapping(node, "search")
    if isinstance(node, MappingNode) and not node.value:
        document.fault(node, "search: is empty; name at least one dimension under it")
    dimensions: dict[str, Dimension] = {}
    for path, entry in entries.items():
        problem = _unsearchable(path, fixed)
        if problem is not None:
            document.fault(entries.lines[path], problem)
            continue
        dimension = _read_dimension(document, path, entry, _Earlier(dimensions, fixed, tuple(entries)))
        if dimension is not None:
            dimensions[path] = replace(dimension, line=entries.lines[path])
    return dimensions


def _unsearchable(path: str, fixed: dict[str, Fixed]) -> str | None:
    if path in NEVER_SEARCHED:
        return f"{path} cannot be searched: {NEVER_SEARCHED[path]}"
    if path in fixed:
        return f"{path} is searched and also fixed on line {fixed[path].line}; keep one"
    return unknown(path)


@dataclass(frozen=True, slots=True)
class _Earlier:
    """What a condition may look at, and what it may not."""

    dimensions: dict[str, Dimension]
    fixed: dict[str, Fixed]
    written: tuple[str, ...]


def _read_isolate(document: Document, node: Node, dimensions: dict[str, Dimension]) -> str | None:
    path = document.value(node)
    dimension = dimensions.get(path) if isinstance(path, str) else None
    if dimension is None:
        hint = nearest(str(path), list(dimensions)) or "; search it as well"
        document.fault(node, f"isolate: {path!r} is no dimension of this space{hint}")
        return None
    if dimension.when:
        document.fault(node, f"isolate: {path} is searched under a condition only; isolate one that every trial has")
    if dimension.domain.resolved(1).values() is None:
        document.fault(node, f"isolate: {path} has endless values; give it a step")
    return dimension.path


def _read_dimension(document: Document, path: str, node: Node, earlier: _Earlier) -> Dimension | None:
    entries = document.mapping(node, path)
    if not entries:
        return None
    kind = document.value(entries["type"]) if "type" in entries else None
    if kind not in _DIMENSION_KEYS:
        said = f"unknown type {kind!r}" if "type" in entries else "type is missing"
        document.fault(entries.get("type", node), f"{path}: {said}; choose float, int or categorical")
        return None
    entries = document.known(node, path, _DIMENSION_KEYS[kind])
    domain = _read_choices(document, path, node, entries) if kind == "categorical" else None
    if kind != "categorical":
        domain = _read_range(document, path, node, entries, whole=kind == "int")
    when = _read_when(document, path, entries["when"], earlier) if "when" in entries else ()
    return Dimension(path, domain, when) if domain is not None else None


def _read_range(document: Document, path: str, node: Node, entries: Entries, *, whole: bool) -> Domain | None:
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


def _number(document: Document, node: Node, path: str, key: str, *, whole: bool = False) -> float | None:
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


def _read_choices(document: Document, path: str, node: Node, entries: Entries) -> Domain | None:
    if "choices" not in entries:
        document.fault(node, f"{path}: choices is missing; give a list of values")
        return None
    nodes = document.sequence(entries["choices"], f"{path}: choices")
    options: list[Any] = []
    for option_node in nodes:
        option = _setting(document, option_node, path)
        if option in options:
            document.fault(option_node, f"{path}: {option!r} is among the choices twice; keep one")
        options.append(option)
    return Choices(tuple(options)) if options else None


def _read_when(document: Document, path: str, node: Node, earlier: _Earlier) -> tuple[Condition, ...]:
    conditions = []
    entries = document.mapping(node, f"{path}: when")
    for other, wanted in entries.items():
        problem = _unusable(other, path, earlier)
        if problem is not None:
            document.fault(entries.lines[other], f"{path}: when: {problem}")
        elif other in earlier.dimensions:
            conditions.append(_read_condition(document, other, wanted))
    return tuple(conditions)


def _unusable(other: str, path: str, earlier: _Earlier) -> str | None:
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


def _read_condition(document: Document, other: str, node: Node) -> Condition:
    if isinstance(node, MappingNode):
        bounds = document.known(node, f"when: {other}", ("min", "max"))
        if not node.value:
            document.fault(node, f"when: {other}: give min, max or both")
        low, high = (_number(document, bounds[key], other, key) if key in bounds else None for key in ("min", "max"))
        return Condition(other, minimum=-ALL if low is None else low, maximum=ALL if high is None else high)
    nodes = [node] if isinstance(node, ScalarNode) else document.sequence(node, f"when: {other}")
    return Condition(other, among=tuple(_setting(document, value, other) for value in nodes))


def _setting(document: Document, node: Node, path: str) -> Any:
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
