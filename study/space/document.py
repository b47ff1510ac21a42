"""A YAML file kept as nodes, so that every fault found in it can name its line."""

import re
from collections.abc import Sequence
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

from drft.config.trial_config import nearest
from drft.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads ``1e-5`` as text, since its floats need a dot; here it is the number it looks like."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, AttributeError)
"""What PyYAML raises for a scalar that is not what its tag says, as in ``!!bool maybe``."""


class MappingEntries(dict[str, Node]):
    """The entries of a mapping by key, and the line of each key."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


class SpaceErrors:
    """The faults found so far in one file."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._faults: list[tuple[int, str]] = []

    def add(self, line: int, what: str) -> None:
        """Remember a fault on a line counted from 1."""
        self._faults.append((line, what))

    def raise_all(self) -> None:
        """Raise every fault there is, in the order of their lines.

        Raises:
            ConfigError: with one line per fault.
        """
        if self._faults:
            raise ConfigError(f"{self.where}:{line}: {what}" for line, what in sorted(self._faults))


class YamlDocument:
    """One YAML text as nodes, and the faults found in it so far.

    Args:
        text: the YAML.
        where: how the text is called in a fault, usually its path.

    Raises:
        ConfigError: when the text is no YAML at all, or empty.
    """

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.faults = SpaceErrors(where)
        self.root = self._compose(text)

    def _compose(self, text: str) -> Node:
        try:
            root = yaml.compose(text, Loader=_Loader)
        except yaml.YAMLError as error:
            raise ConfigError(f"{self.where}{_place(error)}: {_problem(error)}; mend the YAML there") from None
        except RecursionError:
            raise ConfigError(f"{self.where}: nested too deeply; a space has three levels") from None
        if root is None:
            raise ConfigError(f"{self.where}: is empty; name at least one dimension under search:")
        assert isinstance(root, Node)
        return root

    def fault(self, at: Node | int, what: str) -> None:
        """Remember a fault, at a node or on a line counted from 1."""
        self.faults.add(at if isinstance(at, int) else line_of(at), what)

    def mapping(self, node: Node, what: str) -> MappingEntries:
        """Return the entries of a mapping; repeated keys and keys that are no text are faults."""
        if not isinstance(node, MappingNode):
            self.fault(node, f"{what} should be a mapping of names to values")
            return MappingEntries()
        entries = MappingEntries()
        for key_node, value_node in node.value:
            key = self.value(key_node)
            if not isinstance(key, str):
                self.fault(key_node, f"{what}: the key {key!r} should be a name; put quotes around it")
            elif key in entries:
                first = entries.lines[key]
                self.fault(key_node, f"{what}: {key} is given twice (first on line {first}); keep one")
            else:
                entries[key] = value_node
                entries.lines[key] = line_of(key_node)
        return entries

    def known(self, entries: MappingEntries, what: str, keys: Sequence[str]) -> MappingEntries:
        """Keep the entries whose keys are known; others are faults."""
        for key in [key for key in entries if key not in keys]:
            hint = nearest(key, list(keys)) or f"; known are {', '.join(keys)}"
            self.fault(entries.lines[key], f"{what}: unknown key {key!r}{hint}")
            del entries[key]
        return entries

    def sequence(self, node: Node, what: str) -> list[Node]:
        """Return the items of a non-empty list; anything else is a fault."""
        if isinstance(node, SequenceNode) and node.value:
            return list(node.value)
        self.fault(node, f"{what} should be a list with at least one value, such as [0, 0.5, 1]")
        return []

    def value(self, node: Node) -> Any:
        """Return the plain value of a scalar node; lists and mappings are faults and read as None."""
        if not isinstance(node, yaml.ScalarNode):
            self.fault(node, "one value should stand here, not a list or a mapping")
            return None
        try:
            return _Loader("").construct_object(node)
        except _UNREADABLE:
            self.fault(node, f"{node.value!r} cannot be read as {node.tag.rpartition(':')[2]}; put quotes around it")
            return None


def line_of(node: Node) -> int:
    """Return the line a node starts on, counted from 1."""
    return int(node.start_mark.line) + 1


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}" if mark else ""


def _problem(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    return f"not valid YAML: {problem}"
