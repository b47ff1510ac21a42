"""The segments of a traced network: the code between two edges at which its graph is cut.

Over an edge go tensors with one row for each image, and nothing else: sizes are made anew from the batch, what
depends on parameters alone is computed again wherever it is used, and so is what parameterless operations make of
tensors that go over anyway (a pooled shortcut beside its source, a transposed view).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import mul
from typing import Any

from torch import fx

from drft.feature_cache.trace import INPUT_LEVEL, Operations, PerImage, attribute


@dataclass(frozen=True, slots=True)
class CutPoint:
    """Where a graph is cut."""

    level: int
    """What is at this level or above lies behind it."""
    stored: tuple[fx.Node, ...]
    """The tensors that are handed over it."""
    recomputed: frozenset[fx.Node]
    """Operations before it that are done again behind it, from what is handed over."""


def cut_below(operations: Operations, level: int) -> CutPoint:
    """Cut below a level. What parameterless operations make of other tensors there is done again, not stored."""
    used_behind = {
        source for node, operation in operations.items() if operation.level >= level for source in node.all_input_nodes
    }
    crossing = {
        node
        for node in used_behind
        if operations[node].varies and operations[node].level < level and operations[node].size is None
    }
    recomputed: set[fx.Node] = set()
    for node, operation in operations.items():
        repeatable = operation.parameterless and operation.size is None and not operation.overwrites
        sources = {source for source in node.all_input_nodes if operations[source].varies}
        needed = {source for source in sources if operations[source].size is None}
        if repeatable and operation.level < level and sources and needed <= crossing | recomputed:
            recomputed.add(node)
    stored = tuple(node for node in operations if node in crossing - recomputed)
    return CutPoint(level, stored, frozenset(recomputed))


def what_forbids(operations: Operations, edge: CutPoint) -> str:
    """Say why a graph cannot be cut at an edge; "" when one can."""
    if not all(operations[node].batch_first for node in edge.stored):
        return "a tensor crosses it that has no row for each image"
    return "" if edge.stored else "no tensor crosses it"


def build_segments(network: fx.GraphModule, operations: Operations, edges: Sequence[CutPoint]) -> list[fx.GraphModule]:
    """Return the code from the images to the first edge, between the edges, and from the last to the logits.

    Each takes the stored tensors of its lower edge and returns a tuple of those of its upper one. None changes its
    arguments.

    Args:
        network: the graph.
        operations: what ``examine`` says of it.
        edges: where to cut, by ascending level.
    """
    nodes = list(network.graph.nodes)
    first = CutPoint(INPUT_LEVEL, tuple(node for node in nodes if node.op == "placeholder"), frozenset())
    last = CutPoint(operations[nodes[-1]].level + 1, tuple(nodes[-1].all_input_nodes), frozenset())
    return [_Segment(network, operations, lower, upper).build() for lower, upper in pairwise([first, *edges, last])]


class _Segment:
    """Builds the code between two edges."""

    def __init__(self, network: fx.GraphModule, operations: Operations, lower: CutPoint, upper: CutPoint) -> None:
        self._network = network
        self._operations = operations
        self._outputs = upper.stored
        self._inside = [
            node
            for node, operation in operations.items()
            if (operation.varies and lower.level <= operation.level < upper.level) or node in lower.recomputed
            if node.op not in ("placeholder", "output")
        ]
        self._graph = fx.Graph()
        self._targets: dict[str, object] = {}
        self._copies = {node: self._graph.placeholder(node.name) for node in lower.stored}
        self._first = next(iter(self._copies.values()))

    def build(self) -> fx.GraphModule:
        self._protect_inputs()
        for node in self._inside:
            self._copy(node)
        self._graph.output(tuple(map(self._copy_of, self._outputs)))
        self._erase_unused()
        return fx.GraphModule(self._targets, self._graph)

    def _protect_inputs(self) -> None:
        """Let the segment work on copies of the inputs that it overwrites."""
        overwritten = frozenset[int]().union(*(self._operations[node].overwrites for node in self._inside))
        for node, given in self._copies.items():
            if self._operations[node].storage in overwritten:
                self._copies[node] = self._graph.call_method("clone", (given,))

    def _erase_unused(self) -> None:
        """Erase what only operations behind the upper edge use, for these do it again."""
        for node in reversed(self._inside):
            if not self._copies[node].users and not self._operations[node].overwrites:
                self._graph.erase_node(self._copies[node])

    def _copy(self, node: fx.Node) -> fx.Node:
        copied = self._graph.node_copy(node, self._copy_of)
        if node.op in ("call_module", "get_attr"):
            # flat names: a dotted path costs one slow attribute look-up of nn.Module for each dot
            copied.target = f"m{len(self._targets)}"
            self._targets[copied.target] = attribute(self._network, str(node.target))
        self._copies[node] = copied
        return copied

    def _copy_of(self, node: fx.Node) -> Any:
        if node in self._copies:
            return self._copies[node]
        if not self._operations[node].varies:
            return self._copy(node)
        return self._made(self._operations[node].size)

    def _made(self, size: object) -> Any:
        """Return a size from before the lower edge: no tensor, so it is made anew from the batch."""
        if isinstance(size, tuple):
            return tuple(map(self._made, size))
        if isinstance(size, PerImage):
            return self._graph.call_function(mul, (self._graph.call_method("size", (self._first, 0)), size.count))
        return size
