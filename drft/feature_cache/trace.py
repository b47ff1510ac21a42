"""The ``torch.fx`` graph of a network, and of which block every operation is.

The level of an operation is the latest block whose parameters it depends on, directly or through what it
computes from: -1 for none, the number of blocks for the head. What lies below a level is the prefix of a
boundary, the rest its suffix, so whatever touches a trained parameter is suffix.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from timm.layers.drop import DropPath
from timm.models import get_notrace_functions, get_notrace_modules
from torch import Tensor, fx, nn

IsLeaf = Callable[[nn.Module], bool]

INPUT_LEVEL = -1
"""Level of an operation that no parameter has touched."""

_BATCHES = (2, 3)


@dataclass(frozen=True, slots=True)
class PerImage:
    """A size that grows with the batch: so many for each image."""

    count: int


@dataclass(frozen=True, slots=True)
class Operation:
    """What is known of one node of a graph."""

    level: int
    parameterless: bool
    """Whether it holds no parameter itself."""
    varies: bool
    """Whether its value depends on the images."""
    batch_first: bool
    """Whether its value is a tensor whose row i belongs to image i, as far as its shape tells."""
    size: object
    """How to make a value that is no tensor: a constant, ``PerImage``, or a tuple of both; None for unknown."""
    storage: int
    """Where its tensor lies, equal for views of one tensor; 0 for none."""
    overwrites: frozenset[int]
    """The storages that it changes in place."""


Operations = Mapping[fx.Node, Operation]
"""In the order of the graph."""


def trace(net: nn.Module, extra_leaf: IsLeaf = lambda _module: False) -> fx.GraphModule:
    """Return the graph of a network in evaluation mode, over the modules of the network itself.

    Leaves are modules without children, those of torch, those with running statistics, those that timm does not
    trace through, and what ``extra_leaf`` says.

    Raises:
        Exception: any, where the network's Python cannot be run on stand-ins for tensors.
    """
    twin = _Whole(_twin(net)).eval()
    graph = _Tracer(extra_leaf).trace(twin)
    whole = _Whole(net)
    return fx.GraphModule({target: _find(whole, twin, target) for target in _targets(graph)}, graph)


def examine(network: fx.GraphModule, blocks: Mapping[int, int], head: int, size: int) -> Operations:
    """Run images through a graph and return what is known of each of its nodes; shape assertions are erased.

    Args:
        network: its modules in evaluation mode.
        blocks: block index by ``id`` of each parameter.
        head: the level of the head, and of whatever the graph returns.
        size: pixels of an image's side.
    """
    example = next(network.parameters())
    runs = []
    for count in _BATCHES:
        run = _Run(network)
        with torch.inference_mode(mode=False), torch.no_grad():
            run.run(torch.zeros(count, 3, size, size, device=example.device, dtype=example.dtype))
        runs.append(run)
    _erase_assertions(network, runs[0].env)
    operations: dict[fx.Node, Operation] = {}
    for node in network.graph.nodes:
        operations[node] = _operation(node, operations, runs, _own_level(network, node, blocks, head))
    return operations


def attribute(module: object, target: str) -> Any:
    """Return what lies at a dotted path of a module."""
    for name in target.split("."):
        module = getattr(module, name)
    return module


class _Whole(nn.Module):
    """Calls a network with images and nothing else, so that its other arguments keep their defaults."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits


class _Tracer(fx.Tracer):
    def __init__(self, extra_leaf: IsLeaf) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))  # type: ignore[no-untyped-call]
        self._extra_leaf = extra_leaf
        self._leaf_types = (DropPath, *get_notrace_modules())  # type: ignore[no-untyped-call]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            not any(m.children())
            or "running_var" in m._buffers
            or isinstance(m, self._leaf_types)
            or super().is_leaf_module(m, module_qualified_name)
            or self._extra_leaf(m)
        )


def _twin(net: nn.Module) -> nn.Module:
    """Copy the modules and share their tensors and hooks: tracing writes into modules (caches, constants)."""
    hooks = (
        hook
        for module in net.modules()
        for hook in chain(module._forward_pre_hooks.values(), module._forward_hooks.values())
    )
    shared = chain(net.parameters(), net.buffers(), hooks)
    return copy.deepcopy(net, {id(thing): thing for thing in shared})


def _targets(graph: fx.Graph) -> Iterable[str]:
    return {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}


def _find(whole: nn.Module, twin: nn.Module, target: str) -> object:
    """Return the network's own module or tensor; a constant made by tracing exists in the twin only."""
    try:
        return attribute(whole, target)
    except AttributeError:
        return attribute(twin, target)


class _Run(fx.Interpreter):
    """Runs a graph, keeps all values in ``env`` and notes which tensors each node changes in place."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network, garbage_collect_values=False)
        self.overwrites: dict[fx.Node, frozenset[int]] = {}

    def run_node(self, n: fx.Node) -> Any:
        tensors = [value for node in n.all_input_nodes if isinstance(value := self.env[node], Tensor)]
        versions = [tensor._version for tensor in tensors]
        result = super().run_node(n)
        # an in-place dropout changes nothing in evaluation mode, so its attribute is asked as well
        always = n.op == "call_module" and getattr(self.fetch_attr(str(n.target)), "inplace", False)
        changed = (
            _storage(tensor)
            for tensor, version in zip(tensors, versions, strict=True)
            if always or tensor._version != version
        )
        self.overwrites[n] = frozenset(changed)
        return result


def _storage(value: object) -> int:
    return value.untyped_storage().data_ptr() if isinstance(value, Tensor) else 0


def _erase_assertions(network: fx.GraphModule, values: Mapping[fx.Node, object]) -> None:
    """Erase the assertions, which the run has passed, and the sizes and comparisons that only they used."""
    for node in reversed(list(network.graph.nodes)):
        plain = node.op.startswith("call_") and isinstance(values.get(node), int | float | torch.Size)
        if not node.users and (node.target is torch._assert or plain):
            network.graph.erase_node(node)


def _own_level(network: fx.GraphModule, node: fx.Node, blocks: Mapping[int, int], head: int) -> int:
    if node.op == "output":
        return head
    if node.op not in ("call_module", "get_attr"):
        return INPUT_LEVEL
    owner = attribute(network, str(node.target))
    parameters = owner.parameters() if isinstance(owner, nn.Module) else (owner,)
    return max((blocks.get(id(parameter), INPUT_LEVEL) for parameter in parameters), default=INPUT_LEVEL)


def _operation(node: fx.Node, known: Operations, runs: Sequence[_Run], own_level: int) -> Operation:
    values = [run.env.get(node) for run in runs]
    sources = [known[source] for source in node.all_input_nodes]
    return Operation(
        level=max([own_level, *(source.level for source in sources)]),
        parameterless=own_level == INPUT_LEVEL,
        varies=node.op == "placeholder" or any(source.varies for source in sources),
        batch_first=all(
            isinstance(value, Tensor) and value.ndim > 0 and len(value) == count
            for value, count in zip(values, _BATCHES, strict=True)
        ),
        size=_size(*values),
        storage=_storage(values[0]),
        overwrites=runs[0].overwrites.get(node, frozenset()),
    )


def _size(two: object, three: object) -> object:
    """Return what makes a value that was ``two`` with two images and ``three`` with three; None when unknown."""
    if isinstance(two, tuple) and isinstance(three, tuple) and len(two) == len(three):
        parts = tuple(map(_size, two, three))
        return None if None in parts else parts
    if not isinstance(two, int | float) or not isinstance(three, int | float):
        return None
    if two == three:
        return two
    return PerImage(int(two) // 2) if two % 2 == 0 and two * 3 == three * 2 else None
