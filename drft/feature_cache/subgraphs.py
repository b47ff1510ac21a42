"""The segments of a traced network: the code between two points at which its graph is cut.

Only tensors with one row per image are passed from one segment to the next. Sizes are computed again from the batch.
Values that depend on parameters alone are computed again wherever they are used. So are values that operations without
parameters compute from tensors that are passed on anyway (a pooled shortcut, a transposed view).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter, mul
from typing import Any

from torch import fx

from drft.feature_cache.trace import INPUT_LEVEL, Operations, PerImage


@dataclass(frozen=True, slots=True)
class CutPoint:
    """A point at which a graph is cut."""

    level: int
    """Operations of this level and above lie behind the cut."""
    stored: tuple[fx.Node, ...]
    """The nodes whose tensors are passed on: the activations at this boundary."""
    recomputed: frozenset[fx.Node]
    """Operations before the cut that are repeated behind it, on tensors that are passed on."""


def cut_below(operations: Operations, level: int) -> CutPoint:
    """Return the point that cuts a graph below a level, with as few stored tensors as possible."""
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


def cut_fault(operations: Operations, cut: CutPoint) -> str:
    """Return why a graph cannot be cut at a point; "" if it can."""
    if not all(operations[node].batch_first for node in cut.stored):
        return "a tensor crosses it that has no row for each image"
    return "" if cut.stored else "no tensor crosses it"


def build_segments(network: fx.GraphModule, operations: Operations, cuts: Sequence[CutPoint]) -> list[fx.GraphModule]:
    """Return the code from the images to the first cut, between the cuts, and from the last cut to the logits.

    A segment takes the stored tensors of the cut before it and returns a tuple of those of the cut behind it. It never
    changes its arguments.

    Args:
        network: the graph.
        operations: the result of ``analyze``.
        cuts: where to cut, by ascending level.
    """
    nodes = list(network.graph.nodes)
    first = CutPoint(INPUT_LEVEL, tuple(node for node in nodes if node.op == "placeholder"), frozenset())
    last = CutPoint(operations[nodes[-1]].level + 1, tuple(nodes[-1].all_input_nodes), frozenset())
    return [_Segment(network, operations, lower, upper).build() for lower, upper in pairwise([first, *cuts, last])]


class _Segment:
    """Builds the code between two cuts by copying nodes of the network's graph into a new one."""

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
        overwritten = frozenset[int]().union(*(self._operations[node].overwrites for node in self._inside))
        for node, argument in self._copies.items():
            if self._operations[node].storage in overwritten:
                self._copies[node] = self._graph.call_method("clone", (argument,))
        for node in self._inside:
            self._copy(node)
        self._graph.output(tuple(map(self._argument, self._outputs)))
        # Nodes that only operations behind the upper cut use are erased: those operations are recomputed there.
        for node in reversed(self._inside):
            if not self._copies[node].users and not self._operations[node].overwrites:
                self._graph.erase_node(self._copies[node])
        return fx.GraphModule(self._targets, self._graph)

    def _copy(self, node: fx.Node) -> fx.Node:
        copied = self._graph.node_copy(node, self._argument)
        if node.op in ("call_module", "get_attr"):
            # flat names: every dot in a target costs one slow attribute look-up of nn.Module in each forward pass
            copied.target = f"m{len(self._targets)}"
            self._targets[copied.target] = attrgetter(str(node.target))(self._network)
        self._copies[node] = copied
        return copied

    def _argument(self, node: fx.Node) -> Any:
        """Return the argument in the new graph that takes the place of a node's value."""
        if node in self._copies:
            return self._copies[node]
        if not self._operations[node].varies:
            return self._copy(node)
        return self._size_argument(self._operations[node].size)

    def _size_argument(self, size: object) -> Any:
        """Return an argument that computes a size again from the batch."""
        if isinstance(size, tuple):
            return tuple(map(self._size_argument, size))
        if isinstance(size, PerImage):
            return self._graph.call_function(mul, (self._graph.call_method("size", (self._first, 0)), size.count))
        return size
