"""The boundaries of a network: where the frozen prefix ends and the trained suffix begins.

With a frozen prefix, its activations are pure functions of the image, so they can be computed once and
kept. A network is cut on its graph at every depth: whatever touches a trained parameter is suffix. Boundary 0
is the classifier's input, the deepest one the images themselves.
"""

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain

import torch
from timm.layers.drop import DropPath
from torch import Tensor, fx, nn

from drft.feature_cache.subgraphs import build_segments, cut_below, what_forbids
from drft.feature_cache.trace import examine, trace
from drft.models.blocks import head_module, list_blocks, set_trainable, train_mode, training_modes

_log = logging.getLogger(__name__)

Activations = tuple[Tensor, ...]
"""What crosses a boundary, batch first: row i belongs to image i."""

Transform = Callable[[fx.GraphModule], fx.GraphModule | None]
"""Rewrites a graph into one that computes the same, or returns None where it has nothing to do."""


class SplitModel:
    """A network cut at the boundary of every depth at which it can be cut.

    It works on the modules and parameters of the network, wherever these have been when it was made: make it
    after the network is on its device. Hooks on the classifier act; hooks set on other modules with children
    after the chain was made do not.
    """

    def __init__(
        self,
        net: nn.Module,
        block_count: int,
        bounds: Sequence[int] = (),
        segments: Sequence[fx.GraphModule] = (),
        faults: Mapping[int, str] | None = None,
    ) -> None:
        """Put together what ``split_model`` made.

        Args:
            net: the network.
            block_count: how many blocks it has.
            bounds: the depths between the segments, descending.
            segments: one more than ``bounds``; none where the network runs as a whole.
            faults: why a depth has no boundary, or none that holds.
        """
        self.net = net
        self.block_count = block_count
        """How many blocks the network has; depths run from 0 to this."""
        self.faults = dict(faults or {})
        """Why a depth has no boundary that holds."""
        self.cuts = tuple(depth for depth in bounds if depth not in self.faults)
        """Depths with a boundary that holds, descending; () when the whole network runs as one suffix."""
        self._segments = segments
        self._starts = {depth: index for index, depth in enumerate(bounds, start=1) if depth in self.cuts}

    @property
    def why_not(self) -> str:
        """Why depths are missing, in one line; "" when none is."""
        reasons = dict.fromkeys(self.faults.values())
        groups = {why: [str(depth) for depth in self.faults if self.faults[depth] == why] for why in reasons}
        return "; ".join(f"depth {', '.join(depths)}: {why}" for why, depths in groups.items())

    def advance(self, activations: Activations, start: int | None, stops: Collection[int]) -> dict[int, Activations]:
        """Run the frozen part once, without gradients, and return what crosses each boundary in ``stops``.

        Nothing runs beyond the lowest stop. The modules below it must be in evaluation mode, as
        ``train_mode(net, min(stops))`` leaves them: nothing is looked up here, for a small network runs in 10 ms.

        Args:
            activations: what crosses the boundary ``start``; it is not changed.
            start: a depth of ``cuts``; None for normalized images (n, 3, size, size), as a 1-tuple.
            stops: depths of ``cuts``, none above ``start``.

        Raises:
            ValueError: when there is no such boundary or a stop lies before the start.
        """
        position, reached = self._position(start), {}
        with torch.no_grad():
            for depth in sorted(stops, reverse=True):
                until = self._position(depth)
                if until < position:
                    raise ValueError(f"depth {depth} lies before depth {start}: advance from a boundary before it")
                activations = _compose(self._segments[position:until], activations)
                position, reached[depth] = until, activations
        return reached

    def suffix(self, depth: int | None, activations: Activations) -> Tensor:
        """Return the logits (n, classes) with gradients, in whatever modes the modules are in.

        Args:
            depth: a depth of ``cuts``; None for the whole network.
            activations: what crosses its boundary, or images as in ``advance``; it is not changed.

        Raises:
            ValueError: when there is no such boundary.
        """
        if depth is None and self.faults:  # what does not hold everywhere is not trusted with the whole
            logits: Tensor = self.net(*activations)
            return logits
        return _compose(self._segments[self._position(depth) :], activations)[0]

    def modules_before(self, depth: int) -> set[nn.Module]:
        """Return the modules that the frozen part below a boundary of ``cuts`` runs."""
        return {module for segment in self._segments[: self._position(depth)] for module in segment.modules()}

    def _position(self, depth: int | None) -> int:
        if depth is None:
            return 0
        if depth not in self._starts:
            raise ValueError(f"{type(self.net).__name__} has no boundary at depth {depth}: choose one of {self.cuts}")
        return self._starts[depth]


def split_model(net: nn.Module, image_size: int, transform: Transform | None = None) -> SplitModel:
    """Cut a network at the boundary of every depth, and check each once against the whole network.

    The network is traced operation by operation; where that leaves depths without a boundary, block by block.
    Boundaries that do not hold are dropped, and the log says so.

    Args:
        net: a timm model, on its device. It is left as it was.
        image_size: pixels of an image's side.
        transform: applied to the graph of single operations.

    Raises:
        BackboneError: when the network has no blocks or no single classifier.
    """
    blocks = _block_of_parameter(net)
    name = type(net).__name__
    fine = _make_chain(net, image_size, blocks, lambda module: module is head_module(net), transform)
    if not fine.why_not:
        return fine
    coarse = _make_chain(net, image_size, blocks, lambda module: _lies_in_one_block(module, blocks), None)
    if len(coarse.cuts) > len(fine.cuts):
        _log.warning("%s is cut block by block, not operation by operation: %s", name, fine.why_not)
    best = max(fine, coarse, key=lambda made: len(made.cuts))
    if best.why_not:
        _log.warning("%s cannot be cut everywhere: %s", name, best.why_not)
    return best


def _make_chain(
    net: nn.Module,
    image_size: int,
    blocks: Mapping[int, int],
    is_leaf: Callable[[nn.Module], bool],
    transform: Transform | None,
) -> SplitModel:
    head = len(list_blocks(net))
    depths = range(head, -1, -1)
    try:
        network = trace(net, is_leaf)
        network = (transform and transform(network)) or network
        with _evaluation_mode(net):
            operations = examine(network, blocks, head, image_size)
    except Exception as error:  # noqa: BLE001  tracing runs the network's own Python on stand-ins: anything may fail
        reason = f"its graph cannot be traced ({str(error).strip().partition(chr(10))[0]})"
        return SplitModel(net, head, faults=dict.fromkeys(depths, reason))
    edges = {depth: cut_below(operations, head - depth) for depth in depths}
    faults = {depth: why for depth, edge in edges.items() if (why := what_forbids(operations, edge))}
    bounds = [depth for depth in depths if depth not in faults]
    segments = build_segments(network, operations, [edges[depth] for depth in bounds])
    found = _disagreements(SplitModel(net, head, bounds, segments, faults), image_size)
    return SplitModel(net, head, bounds, segments, faults | found)


def _compose(segments: Sequence[fx.GraphModule], activations: Activations) -> Activations:
    for segment in segments:
        activations = segment.forward(*activations)
    return activations


def _block_of_parameter(net: nn.Module) -> dict[int, int]:
    """Return the block index by ``id`` of every parameter; the head's is the number of blocks."""
    blocks = list_blocks(net)
    inside = {id(net.get_parameter(name)): block.index for block in blocks for name in block.parameters}
    return inside | {id(parameter): len(blocks) for parameter in head_module(net).parameters()}


def _lies_in_one_block(module: nn.Module, blocks: Mapping[int, int]) -> bool:
    return len({blocks[id(parameter)] for parameter in module.parameters()}) == 1


def _disagreements(made: SplitModel, image_size: int) -> dict[int, str]:
    """Compare the suffixes with the whole network, evaluating and training, on two noise images.

    Every suffix is the end of the next deeper one, so one evaluation checks them all, and when one of them trains like
    the network, those after it do.
    """
    example = next(made.net.parameters())
    noise = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    images = (noise.to(example.device, example.dtype),)
    faults: dict[int, str] = {}
    with _left_as_it_was(made.net) as restore, torch.inference_mode(mode=False), torch.no_grad():
        for depth in made.cuts:
            made.net.eval()
            activations = made.advance(images, None, [depth])[depth]
            if not _close(made.suffix(depth, activations), made.net(*images)):
                return dict.fromkeys(made.cuts, "its graph computes something else than the network")
            if _trains_alike(made, depth, images, activations, restore):
                break
            faults[depth] = "its suffix trains otherwise than the network"
    return _restless(made) | faults


def _trains_alike(
    made: SplitModel, depth: int, images: Activations, activations: Activations, restore: Callable[[], None]
) -> bool:
    set_trainable(made.net, depth)
    train_mode(made.net, depth)
    torch.manual_seed(0)
    whole = made.net(*images)
    restore()
    torch.manual_seed(0)
    part = made.suffix(depth, activations)
    restore()
    return _close(part, whole)


def _restless(made: SplitModel) -> dict[int, str]:
    """Find the depths whose frozen part has modules of trained blocks that act otherwise in training.

    Only those without parameters can lie there: a dropout at the start of a block.
    """
    faults: dict[int, str] = {}
    for depth in made.cuts:
        suspects = [module for module in made.modules_before(depth) if _acts_in_training(module)]
        modes = training_modes(made.net, depth) if suspects else {}
        restless = [type(module).__name__ for module in suspects if modes.get(module)]
        if restless:
            faults[depth] = f"its frozen part has a {restless[0]} that is in training"
    return faults


def _acts_in_training(module: nn.Module) -> bool:
    rate = getattr(module, "drop_prob" if isinstance(module, DropPath) else "p", 0.0)
    drops = isinstance(module, (nn.modules.dropout._DropoutNd, DropPath)) and rate > 0
    return drops or ("running_var" in module._buffers and not any(True for _ in module.parameters()))


def _close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@contextlib.contextmanager
def _left_as_it_was(net: nn.Module) -> Iterator[Callable[[], None]]:
    """Put back modes, buffers, ``requires_grad`` and random state at the end; yield what restores the buffers."""
    modes = {module: module.training for module in net.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]
    trained = {parameter: parameter.requires_grad for parameter in net.parameters()}

    def restore() -> None:
        for buffer, before in buffers:
            buffer.copy_(before)

    devices = {tensor.device for tensor in chain(trained, net.buffers()) if tensor.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield restore
        finally:
            restore()
            net.train()  # timm's networks forget here what they keep while evaluating (attention biases)
            for module, training in modes.items():
                module.training = training
            for parameter, requires_grad in trained.items():
                parameter.requires_grad_(requires_grad)


@contextlib.contextmanager
def _evaluation_mode(net: nn.Module) -> Iterator[None]:
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
