"""Read the fixed values and the dimensions of a space from YAML nodes, and collect all faults."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from yaml.nodes import MappingNode, Node

from drft.config.trial_config import nearest
from study.space.backbones import NAME
from study.space.dimension import Choices, Dimension, FixedSetting
from study.space.document import MappingEntries, SpaceErrors, YamlDocument
from study.space.parse_dimension import OtherSettings, read_dimension, read_setting
from study.space.settings import DEPTH_FRACTION, NEVER_FIXED, NEVER_SEARCHED, PATHS, unknown_setting

ALL_OF_SEVERAL = f"all is another number for each backbone; name {DEPTH_FRACTION}, 1 for all"
"""What is wrong with the depth ``all`` where several backbones are searched."""

_TOP_KEYS = ("name", "question", "fixed", "search", "isolate")


@dataclass(frozen=True, slots=True)
class ParsedSpace:
    """The content of the YAML; each part is valid by itself."""

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
    parsed = ParsedSpace(
        name=_read_text(document, top, "name"),
        question=_read_text(document, top, "question"),
        fixed=tuple(fixed.values()),
        dimensions=tuple(dimensions.values()),
        isolate=_read_isolate(document, top["isolate"], dimensions) if "isolate" in top else None,
    )
    check_conditions(document.faults, parsed.dimensions)
    _check_depth(document, [*fixed.values(), *dimensions.values()])
    if NAME in dimensions and dimensions[NAME].when:
        document.fault(dimensions[NAME].line, f"{NAME}: every trial has a backbone; remove when")
    document.faults.raise_all()
    return parsed


def _check_depth(document: YamlDocument, settings: Sequence[FixedSetting | Dimension]) -> None:
    """Add faults if depth is given twice, or if ``all`` would be another number for each backbone."""
    depths = [setting for setting in settings if setting.path in {"depth", DEPTH_FRACTION}]
    if len(depths) > 1:
        document.fault(depths[1].line, f"depth and {DEPTH_FRACTION} set the same thing; keep one")
    searched = {setting.path for setting in settings if isinstance(setting, Dimension)}
    for setting in depths:
        domain = setting.domain if isinstance(setting, Dimension) else Choices((setting.value,))
        if NAME in searched and setting.path == "depth" and domain.resolve(0) != domain:
            document.fault(setting.line, f"depth: {ALL_OF_SEVERAL}")


def check_conditions(faults: SpaceErrors, dimensions: Sequence[Dimension]) -> None:
    """Add the conditions that can never hold, except those with ``all``, which need the number of blocks."""
    by_path = {dimension.path: dimension for dimension in dimensions}
    for dimension in dimensions:
        for condition in dimension.when:
            other = by_path[condition.path]
            has_all = condition.resolve(0) != condition or other.domain.resolve(0) != other.domain
            if not has_all and not condition.can_hold(other.domain):
                problem = f"{condition} never holds, since {other.path} is {other.domain}"
                faults.add(dimension.line, f"{dimension.path}: when: {problem}; widen one or the other")


def _read_text(document: YamlDocument, top: MappingEntries, key: str) -> str:
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
        if is_group and isinstance(value_node, MappingNode):
            settings = _read_fixed(document, value_node, f"{path}.")
        else:
            settings = _read_fixed_value(document, value_node, path, entries.lines[key])
        for twice in settings.keys() & fixed.keys():
            first = fixed[twice].line
            document.fault(settings[twice].line, f"{twice} is fixed twice (first on line {first}); keep one")
        fixed |= settings
    return fixed


def _read_fixed_value(document: YamlDocument, node: Node, path: str, line: int) -> dict[str, FixedSetting]:
    problem = unknown_setting(path)
    if path in NEVER_FIXED:
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
    for path, value_node in entries.items():
        problem = unknown_setting(path)
        if path in NEVER_SEARCHED:
            problem = f"{path} cannot be searched: {NEVER_SEARCHED[path]}"
        elif path in fixed:
            problem = f"{path} is searched and also fixed on line {fixed[path].line}; keep one"
        if problem is not None:
            document.fault(entries.lines[path], problem)
            continue
        dimension = read_dimension(document, path, value_node, OtherSettings(dimensions, fixed, tuple(entries)))
        if dimension is not None:
            dimensions[path] = replace(dimension, line=entries.lines[path])
    return dimensions


def _read_isolate(document: YamlDocument, node: Node, dimensions: dict[str, Dimension]) -> str | None:
    path = document.value(node)
    dimension = dimensions.get(path) if isinstance(path, str) else None
    if dimension is None:
        hint = nearest(str(path), list(dimensions)) or "; search it as well"
        document.fault(node, f"isolate: {path!r} is no dimension of this space{hint}")
        return None
    if dimension.when:
        document.fault(node, f"isolate: {path} is searched under a condition only; isolate one that every trial has")
    if dimension.domain.resolve(1).values() is None:
        document.fault(node, f"isolate: {path} has endless values; give it a step")
    return dimension.path
