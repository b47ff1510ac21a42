"""A YAML text as nodes, so that every fault in it can name its line."""

import re
from collections.abc import Sequence
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

from drft.config.trial_config import nearest
from drft.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Reads ``1e-5`` as a number. In YAML 1.1 it is text, since a float needs a dot there."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, AttributeError)
"""PyYAML raises any of these for a scalar that does not fit its tag, such as ``!!bool maybe``."""


class MappingEntries(dict[str, Node]):
    """The entries of a mapping by key, and the line of each key."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


class SpaceErrors:
    """The faults of one file, collected in any order."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._faults: list[tuple[int, str]] = []

    def add(self, line: int, problem: str) -> None:
        """Add a fault; lines count from 1, and 0 stands for a setting that does not come from the file."""
        self._faults.append((line, problem))

    def raise_all(self) -> None:
        """Raise the collected faults in the order of their lines, if there are any.

        Raises:
            ConfigError: with one line per fault.
        """
        if self._faults:
            raise ConfigError(
                f"{self.file}:{line}: {problem}" if line else f"--set {problem}"
                for line, problem in sorted(self._faults)
            )


class YamlDocument:
    """A YAML text as nodes, and the faults found in it so far.

    Args:
        text: the YAML.
        file: name of the text in faults, usually its path.

    Raises:
        ConfigError: when the text is empty or not valid YAML.
    """

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.faults = SpaceErrors(file)
        try:
            root = yaml.compose(text, Loader=_Loader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
            raise ConfigError(f"{file}{line}: not valid YAML: {problem}; fix the YAML there") from None
        except RecursionError:
            raise ConfigError(f"{file}: nested too deeply; a space has three levels") from None
        if root is None:
            raise ConfigError(f"{file}: is empty; name at least one dimension under search:")
        assert isinstance(root, Node)
        self.root = root

    def fault(self, at: Node | int, problem: str) -> None:
        """Add a fault at a node, or on a line counted from 1."""
        self.faults.add(at if isinstance(at, int) else line_of(at), problem)

    def mapping(self, node: Node, what: str) -> MappingEntries:
        """Return the entries of a mapping; repeated keys, and keys that are not text, are faults."""
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
        """Return the entries with known keys; the others are faults."""
        for key in [key for key in entries if key not in keys]:
            hint = nearest(key, list(keys)) or f"; known are {', '.join(keys)}"
            self.fault(entries.lines[key], f"{what}: unknown key {key!r}{hint}")
            del entries[key]
        return entries

    def sequence(self, node: Node, what: str) -> list[Node]:
        """Return the items of a list that is not empty; anything else is a fault."""
        if isinstance(node, SequenceNode) and node.value:
            return list(node.value)
        self.fault(node, f"{what} should be a list with at least one value, such as [0, 0.5, 1]")
        return []

    def value(self, node: Node) -> Any:
        """Return the value of a scalar node; a list or a mapping is a fault, and its value is None."""
        if not isinstance(node, yaml.ScalarNode):
            self.fault(node, "should be one value, not a list or a mapping")
            return None
        try:
            return _Loader("").construct_object(node)
        except _UNREADABLE:
            self.fault(node, f"{node.value!r} cannot be read as {node.tag.rpartition(':')[2]}; put quotes around it")
            return None


def read_value(text: str) -> Any:
    """Return what a text means as a value in a space: a number, a truth value, null, or the text itself."""
    try:
        return _Loader(text).get_single_data()
    except (*_UNREADABLE, RecursionError):
        return text


def line_of(node: Node) -> int:
    """Return the line on which a node starts, counted from 1."""
    return int(node.start_mark.line) + 1
