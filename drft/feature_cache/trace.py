"""The ``torch.fx`` graph of a network, and the block that each of its operations belongs to.

The level of an operation is the index of the latest block whose parameters its value depends on, directly or through
its inputs: -1 if it depends on none, the number of blocks for the head. At a boundary, the operations below a level are
the frozen part and all others the trained part. So every operation that depends on a trained parameter is in the
trained part.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

import torch
from timm.layers.drop import DropPath
from timm.models import get_notrace_functions, get_notrace_modules
from torch import Tensor, fx, nn

from drft.models.blocks import head_modules

IsLeaf = Callable[[nn.Module], bool]

INPUT_LEVEL = -1
"""Level of an operation that depends on no parameter."""

_BATCH_SIZES = (2, 3)
"""Batch sizes of the two runs, from whose difference follows what grows with the batch."""


@dataclass(frozen=True, slots=True)
class PerImage:
    """A size that is proportional to the number of images."""

    count: int
    """The size for one image."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Properties of one node of a graph."""

    level: int
    parameterless: bool
    """Whether the operation has no parameters of its own."""
    varies: bool
    """Whether its value depends on the images."""
    batch_first: bool
    """Whether its value is a tensor with as many rows as there are images."""
    size: object
    """A value that is not a tensor: a constant, a ``PerImage``, or a tuple of both; None for any other value."""
    storage: int
    """Address of the memory of its tensor, the same for all views of one tensor; 0 if the value is no tensor."""
    overwrites: frozenset[int]
    """The storages that it changes in place."""


Operations = Mapping[fx.Node, Operation]
"""The operations of a graph, in its order."""


def trace(net: nn.Module, is_leaf: IsLeaf = lambda _module: False) -> fx.GraphModule:
    """Return the graph of a network in evaluation mode; it uses the modules of the network itself.

    Not traced through are: the classifier, so that its hooks keep acting; modules without children; those of torch;
    those with running statistics; those that timm marks; and those for which ``is_leaf`` is true.

    Raises:
        Exception: of any kind, when the Python code of the network cannot run on fx proxies.
    """
    # Tracing writes into modules (caches, constants), so it uses a copy of them, with the same tensors.
    tensors = chain(net.parameters(), net.buffers())
    traced = _ImagesOnly(copy.deepcopy(net, {id(tensor): tensor for tensor in tensors})).eval()
    graph = _Tracer(head_modules(traced.net), is_leaf).trace(traced)
    original = _ImagesOnly(net)
    targets: dict[str, Any] = {}
    for target in {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}:
        try:
            targets[target] = attrgetter(target)(original)
        except AttributeError:  # a constant made by tracing, which only the copy has
            targets[target] = attrgetter(target)(traced)
    return fx.GraphModule(targets, graph)


def analyze(network: fx.GraphModule, blocks: Mapping[int, int], head: int, size: int) -> Operations:
    """Run images through a graph and return the properties of its nodes; assertions about shapes are erased.

    Args:
        network: the graph, its modules in evaluation mode.
        blocks: block index of each parameter by its ``id``.
        head: the level of the head and of the output.
        size: height and width of an image, in pixels.
    """
    example = next(network.parameters())
    runs = []
    for count in _BATCH_SIZES:
        run = _Run(network)
        with torch.inference_mode(mode=False), torch.no_grad():
            run.run(torch.zeros(count, 3, size, size, device=example.device, dtype=example.dtype))
        runs.append(run)
    # Erase the assertions, which both runs have passed and which return None, and the sizes that only they used.
    for node in reversed(list(network.graph.nodes)):
        has_no_tensor = isinstance(runs[0].env[node], int | float | torch.Size | None)
        if node.op.startswith("call_") and has_no_tensor and not (node.users or runs[0].overwrites[node]):
            network.graph.erase_node(node)
    operations: dict[fx.Node, Operation] = {}
    for node in network.graph.nodes:
        operations[node] = _operation(node, operations, runs, _own_level(network, node, blocks, head))
    return operations


class _ImagesOnly(nn.Module):
    """A network that is called with images alone, so that its other arguments keep their defaults."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits


class _Tracer(fx.Tracer):
    def __init__(self, heads: Sequence[nn.Module], is_leaf: IsLeaf) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))  # type: ignore[no-untyped-call]
        self._heads = heads
        self._is_leaf = is_leaf
        self._leaf_types = (DropPath, *get_notrace_modules())  # type: ignore[no-untyped-call]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            any(m is head for head in self._heads)
            or not any(m.children())
            or hasattr(m, "running_var")
            or isinstance(m, self._leaf_types)
            or super().is_leaf_module(m, module_qualified_name)
            or self._is_leaf(m)
        )


class _Run(fx.Interpreter):
    """Runs a graph, keeps all values in ``env`` and records which tensors each node changes in place."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network, garbage_collect_values=False)
        self.overwrites: dict[fx.Node, frozenset[int]] = {}
        self._one = torch.ones((), requires_grad=True)

    def run_node(self, n: fx.Node) -> Any:
        tensors = [value for node in n.all_input_nodes if isinstance(value := self.env[node], Tensor)]
        # Products with a number save the tensors for the gradient of that number. Autograd refuses to compute it once
        # a tensor was changed in place; torch publishes no more direct way to learn that.
        with torch.enable_grad():
            products = [tensor.detach() * self._one for tensor in tensors]
        result = super().run_node(n)
        # in-place dropout changes nothing in evaluation mode, so the attribute of the module counts as well
        always = n.op == "call_module" and getattr(self.fetch_attr(str(n.target)), "inplace", False)
        pairs = zip(tensors, products, strict=True)
        self.overwrites[n] = frozenset(_storage(tensor) for tensor, used in pairs if always or self._was_changed(used))
        return result

    def _was_changed(self, product: Tensor) -> bool:
        try:
            torch.autograd.grad(product, self._one, torch.zeros_like(product))
        except RuntimeError:
            return True
        return False


def _storage(value: object) -> int:
    return value.untyped_storage().data_ptr() if isinstance(value, Tensor) else 0


def _own_level(network: fx.GraphModule, node: fx.Node, blocks: Mapping[int, int], head: int) -> int:
    """Return the latest block whose parameters a node has itself."""
    if node.op == "output":
        return head
    if node.op not in ("call_module", "get_attr"):
        return INPUT_LEVEL
    owner = attrgetter(str(node.target))(network)
    parameters = owner.parameters() if isinstance(owner, nn.Module) else (owner,)
    return max((blocks.get(id(parameter), INPUT_LEVEL) for parameter in parameters), default=INPUT_LEVEL)


def _operation(node: fx.Node, previous: Operations, runs: Sequence[_Run], own_level: int) -> Operation:
    values = [run.env[node] for run in runs]
    sources = [previous[source] for source in node.all_input_nodes]
    return Operation(
        level=max([own_level, *(source.level for source in sources)]),
        parameterless=own_level == INPUT_LEVEL,
        varies=node.op == "placeholder" or any(source.varies for source in sources),
        batch_first=all(
            isinstance(value, Tensor) and value.ndim > 0 and len(value) == count
            for value, count in zip(values, _BATCH_SIZES, strict=True)
        ),
        size=_size(*values),
        storage=_storage(values[0]),
        overwrites=runs[0].overwrites[node],
    )


def _size(two: object, three: object) -> object:
    """Return ``Operation.size`` of a value that is ``two`` with two images and ``three`` with three."""
    if isinstance(two, tuple) and isinstance(three, tuple) and len(two) == len(three):
        parts = tuple(map(_size, two, three))
        return None if None in parts else parts
    if not isinstance(two, int | float) or not isinstance(three, int | float):
        return None
    if two == three:
        return two
    return PerImage(int(two) // 2) if two % 2 == 0 and two * 3 == three * 2 else None
