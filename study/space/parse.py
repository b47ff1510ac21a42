"""From YAML nodes to fixed values and dimensions, remembering every fault on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from yaml.nodes import MappingNode, Node

from drft.config.trial_config import nearest
from study.space.backbones import NAME
from study.space.dimension import Choices, Dimension, FixedSetting
from study.space.document import MappingEntries, SpaceErrors, YamlDocument
from study.space.parse_dimension import KnownDimensions, read_dimension, read_setting
from study.space.settings import DEPTH_FRACTION, NEVER_FIXED, NEVER_SEARCHED, PATHS, unknown

_TOP_KEYS = ("name", "question", "fixed", "search", "isolate")


@dataclass(frozen=True, slots=True)
class ParsedSpace:
    """What the YAML says, every part of it checked on its own."""

    name: str
    question: str
    fixed: tuple[FixedSetting, ...]
    dimensions: tuple[Dimension, ...]
    isolate: str | None


def parse(document: YamlDocument) -> ParsedSpace:
    """Read a whole space.

    Raises:
        ConfigError: with every fault of the document, each with its line.
    """
    top = document.known(document.mapping(document.root, "a search space"), "a search space", _TOP_KEYS)
    fixed = _read_fixed(document, top["fixed"]) if "fixed" in top else {}
    dimensions = _read_search(document, top.get("search"), fixed)
    draft = ParsedSpace(
        name=_text(document, top, "name"),
        question=_text(document, top, "question"),
        fixed=tuple(fixed.values()),
        dimensions=tuple(dimensions.values()),
        isolate=_read_isolate(document, top["isolate"], dimensions) if "isolate" in top else None,
    )
    check_conditions(document.faults, draft.dimensions)
    _check_depths(document, fixed, dimensions)
    document.faults.raise_all()
    return draft


def _check_depths(document: YamlDocument, fixed: dict[str, FixedSetting], dimensions: dict[str, Dimension]) -> None:
    """Find depth said twice, and depths that mean another share of each backbone without saying so."""
    named: tuple[FixedSetting | Dimension, ...] = (*fixed.values(), *dimensions.values())
    said = [one for one in named if one.path in {"depth", DEPTH_FRACTION}]
    if len(said) > 1:
        document.fault(said[1].line, f"depth and {DEPTH_FRACTION} say the same thing; keep one")
    if NAME not in dimensions:
        return
    if dimensions[NAME].when:
        document.fault(dimensions[NAME].line, f"{NAME}: every trial has a backbone; remove when")
    for one in said:
        domain = one.domain if isinstance(one, Dimension) else Choices((one.value,))
        if one.path == "depth" and domain.resolved(0) != domain:
            document.fault(
                one.line, f"depth: all is another number for each backbone; name {DEPTH_FRACTION}, 1 for all"
            )


def check_conditions(faults: SpaceErrors, dimensions: Sequence[Dimension]) -> None:
    """Find the conditions that can never hold; those that wait for the number of blocks are passed over."""
    by_path = {dimension.path: dimension for dimension in dimensions}
    for dimension in dimensions:
        for condition in dimension.when:
            other = by_path[condition.path]
            waits = condition.resolved(0) != condition or other.domain.resolved(0) != other.domain
            if not waits and not condition.possible(other.domain):
                never = f"{condition} never holds, since {other.path} is {other.domain}"
                faults.add(dimension.line, f"{dimension.path}: when: {never}; widen one or the other")


def _text(document: YamlDocument, top: MappingEntries, key: str) -> str:
    if key not in top:
        return ""
    value = document.value(top[key])
    if not isinstance(value, str):
        document.fault(top[key], f"{key} should be text, got {value!r}; put quotes around it")
    return str(value)


def _read_fixed(document: YamlDocument, node: Node, prefix: str = "") -> dict[str, FixedSetting]:
    """Read fixed values, written as dotted paths or nested."""
    fixed: dict[str, FixedSetting] = {}
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


def _read_fixed_value(document: YamlDocument, node: Node, path: str, line: int) -> dict[str, FixedSetting]:
    problem = unknown(path)
    if problem is None and path in NEVER_FIXED:
        problem = f"{path} cannot be fixed in a space: {NEVER_FIXED[path]}"
    if problem is not None:
        document.fault(line, problem)
        return {}
    return {path: FixedSetting(path, read_setting(document, node, path), line)}


def _read_search(document: YamlDocument, node: Node | None, fixed: dict[str, FixedSetting]) -> dict[str, Dimension]:
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
        dimension = read_dimension(document, path, entry, KnownDimensions(dimensions, fixed, tuple(entries)))
        if dimension is not None:
            dimensions[path] = replace(dimension, line=entries.lines[path])
    return dimensions


def _unsearchable(path: str, fixed: dict[str, FixedSetting]) -> str | None:
    if path in NEVER_SEARCHED:
        return f"{path} cannot be searched: {NEVER_SEARCHED[path]}"
    if path in fixed:
        return f"{path} is searched and also fixed on line {fixed[path].line}; keep one"
    return unknown(path)


def _read_isolate(document: YamlDocument, node: Node, dimensions: dict[str, Dimension]) -> str | None:
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
