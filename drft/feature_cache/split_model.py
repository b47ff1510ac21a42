"""A network cut at the boundary of every depth, into frozen blocks before it and trained blocks behind it.

The graph of the network is cut so that every operation that depends on a trained parameter lies behind the boundary.
The activations at the boundary then depend on the image alone and can be cached. The boundary of depth 0 is before the
classifier, that of the largest depth before the first block.
"""

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain

import torch
from timm.layers.drop import DropPath
from torch import Tensor, fx, nn

from drft.feature_cache.cache_file import Activations
from drft.feature_cache.subgraphs import build_segments, cut_below, cut_fault
from drft.feature_cache.trace import IsLeaf, analyze, trace
from drft.models.blocks import head_modules, list_blocks, set_trainable, train_mode, training_modes

_log = logging.getLogger(__name__)

Transform = Callable[[fx.GraphModule], fx.GraphModule]
"""Rewrites a graph into one that computes the same."""

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class SplitModel:
    """A network, cut at the boundary of every depth at which it can be cut.

    It uses the modules and parameters that the network has when it is cut: move the network to its device first. Hooks
    on the classifier keep acting. Hooks set afterwards on other modules with children have no effect.
    """

    def __init__(
        self,
        net: nn.Module,
        block_count: int,
        bounds: Sequence[int] = (),
        segments: Sequence[fx.GraphModule] = (),
        faults: Mapping[int, str] | None = None,
    ) -> None:
        """Combine the parts that ``split_model`` builds.

        Args:
            net: the network.
            block_count: its number of blocks.
            bounds: the depths of the boundaries between the segments, descending.
            segments: one more than ``bounds``; none if the network runs as a whole.
            faults: for each depth without a usable boundary, the reason.
        """
        self.net = net
        self.block_count = block_count
        """Number of blocks of the network; depths run from 0 to this."""
        self.faults = dict(faults or {})
        """For each depth without a usable boundary, the reason."""
        self.cuts = tuple(depth for depth in bounds if depth not in self.faults)
        """Depths with a usable boundary, descending; () if the network runs as a whole."""
        self.segments = segments
        """The parts between the boundaries, in order; () if the network runs as a whole."""
        self._starts = {depth: index for index, depth in enumerate(bounds, start=1) if depth in self.cuts}

    @property
    def code(self) -> str:
        """What the parts compute, as Python code that calls their modules; "" if the network runs as a whole."""
        return "\n".join(segment.code for segment in self.segments)

    @property
    def fault_summary(self) -> str:
        """The reasons for missing boundaries, in one line; "" if no boundary is missing."""
        reasons = dict.fromkeys(self.faults.values())
        groups = {reason: [str(depth) for depth in self.faults if self.faults[depth] == reason] for reason in reasons}
        return "; ".join(f"depth {', '.join(depths)}: {reason}" for reason, depths in groups.items())

    def advance(self, activations: Activations, start: int | None, stops: Collection[int]) -> dict[int, Activations]:
        """Run the network from one boundary to later ones, without gradients; return the activations there by depth.

        Nothing runs behind the last of these boundaries. The modules before it must be in evaluation mode, as
        ``train_mode(net, min(stops))`` sets them. This is not checked here, since small networks run in 10 ms.

        Args:
            activations: the activations at the boundary ``start``; they are not changed.
            start: depth of the boundary to start from, one of ``cuts``; None for normalized images
                (n, 3, size, size), as a 1-tuple.
            stops: depths of the boundaries to return, of ``cuts``; none deeper than ``start``.

        Raises:
            ValueError: when there is no such boundary, or a stop lies before the start.
        """
        position, reached = self._position(start), {}
        with torch.no_grad():
            for depth in sorted(stops, reverse=True):
                end = self._position(depth)
                if end < position:
                    raise ValueError(f"depth {depth} lies before depth {start}: advance from a boundary before it")
                activations = _run(self.segments[position:end], activations)
                position, reached[depth] = end, activations
        return reached

    def suffix(self, depth: int | None, activations: Activations) -> Tensor:
        """Return the logits (n, classes), with gradients; the modes of the modules are left as they are.

        Args:
            depth: one of ``cuts``; None for the whole network.
            activations: the activations at its boundary, or images as in ``advance``; they are not changed.

        Raises:
            ValueError: when there is no such boundary.
        """
        if depth is None and self.faults:  # the graph fails at some depths, so the network itself is used
            logits: Tensor = self.net(*activations)
            return logits
        return _run(self.segments[self._position(depth) :], activations)[0]

    def modules_before(self, depth: int) -> set[nn.Module]:
        """Return the modules that run before the boundary of a depth of ``cuts``."""
        return {module for segment in self.segments[: self._position(depth)] for module in segment.modules()}

    def _position(self, depth: int | None) -> int:
        """Return the number of segments before a boundary."""
        if depth is None:
            return 0
        if depth not in self._starts:
            raise ValueError(f"{type(self.net).__name__} has no boundary at depth {depth}: choose one of {self.cuts}")
        return self._starts[depth]


def split_model(net: nn.Module, image_size: int, transform: Transform | None = None) -> SplitModel:
    """Cut a network at the boundary of every depth, and compare each boundary once with the whole network.

    The graph has single operations; if that leaves depths without a boundary, modules within one block. Boundaries that
    fail the comparison are dropped with a warning.

    Args:
        net: a timm model, on its device. Its state is not changed.
        image_size: height and width of an image, in pixels.
        transform: applied to the graph of single operations.

    Raises:
        BackboneError: when the network has no blocks or no classifier.
    """
    blocks = list_blocks(net)
    block_of = {id(net.get_parameter(name)): block.index for block in blocks for name in block.parameters}
    block_of |= {id(parameter): len(blocks) for head in head_modules(net) for parameter in head.parameters()}
    name = type(net).__name__
    fine = _split(net, image_size, block_of, lambda _module: False, transform)
    if not fine.faults:
        return fine

    def is_within_block(module: nn.Module) -> bool:
        return len({block_of[id(parameter)] for parameter in module.parameters()}) == 1

    coarse = _split(net, image_size, block_of, is_within_block, None)
    if len(coarse.cuts) > len(fine.cuts):
        _log.warning("%s is cut block by block, not operation by operation: %s", name, fine.fault_summary)
    best = max(fine, coarse, key=lambda split: len(split.cuts))
    if best.faults:
        _log.warning("%s cannot be cut everywhere: %s", name, best.fault_summary)
    return best


def _split(
    net: nn.Module, image_size: int, block_of: Mapping[int, int], is_leaf: IsLeaf, transform: Transform | None
) -> SplitModel:
    head = len(list_blocks(net))
    depths = range(head, -1, -1)
    try:
        network = trace(net, is_leaf)
        network = transform(network) if transform else network
        with _restored(net):
            net.eval()
            operations = analyze(network, block_of, head, image_size)
    except Exception as error:  # noqa: BLE001  the network's own Python code runs on fx proxies: anything may fail
        reason = f"its graph cannot be traced ({str(error).strip().partition(chr(10))[0]})"
        return SplitModel(net, head, faults=dict.fromkeys(depths, reason))
    cuts = {depth: cut_below(operations, head - depth) for depth in depths}
    faults = {depth: fault for depth, cut in cuts.items() if (fault := cut_fault(operations, cut))}
    bounds = [depth for depth in depths if depth not in faults]
    segments = build_segments(network, operations, [cuts[depth] for depth in bounds])
    unchecked = SplitModel(net, head, bounds, segments, faults)
    return SplitModel(net, head, bounds, segments, faults | _disagreements(unchecked, image_size))


def _run(segments: Sequence[fx.GraphModule], activations: Activations) -> Activations:
    for segment in segments:
        activations = segment.forward(*activations)
    return activations


def _disagreements(split: SplitModel, image_size: int) -> dict[int, str]:
    """Compare the trained parts with the whole network in both modes, on two noise images; return faults by depth.

    The trained part of a depth is the end of that of the next larger depth. So when one of them trains like the
    network, all later ones do.
    """
    example = next(split.net.parameters())
    noise = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    images = (noise.to(example.device, example.dtype),)
    faults: dict[int, str] = {}
    with _restored(split.net) as restore_buffers, torch.inference_mode(mode=False), torch.no_grad():
        for depth in split.cuts:
            split.net.eval()
            activations = split.advance(images, None, [depth])[depth]
            if not _close(split.suffix(depth, activations), split.net(*images)):
                return dict.fromkeys(split.cuts, "its graph computes something else than the network")
            set_trainable(split.net, depth)
            train_mode(split.net, depth)
            torch.manual_seed(0)
            whole = split.net(*images)
            restore_buffers()
            torch.manual_seed(0)
            part = split.suffix(depth, activations)
            restore_buffers()
            if _close(part, whole):
                break
            faults[depth] = "its suffix trains otherwise than the network"
    return _active_before(split) | faults


def _active_before(split: SplitModel) -> dict[int, str]:
    """Return faults for depths before whose boundary a module of a trained block behaves otherwise in training.

    Only modules without parameters can lie there, such as a dropout at the beginning of a block.
    """
    faults: dict[int, str] = {}
    for depth in split.cuts:
        active = [module for module in split.modules_before(depth) if _acts_in_training(module)]
        modes = training_modes(split.net, depth) if active else {}
        names = [type(module).__name__ for module in active if modes.get(module)]
        if names:
            faults[depth] = f"its frozen part has a {names[0]} that is in training"
    return faults


def _acts_in_training(module: nn.Module) -> bool:
    """Return whether a module without parameters behaves otherwise in training than in evaluation mode."""
    if isinstance(module, DropPath):
        return bool(module.drop_prob)
    if isinstance(module, _DROPOUTS):
        return module.p > 0
    return hasattr(module, "running_var") and not any(True for _ in module.parameters())


def _close(result: Tensor, expected: Tensor) -> bool:
    return torch.allclose(result, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@contextlib.contextmanager
def _restored(net: nn.Module) -> Iterator[Callable[[], None]]:
    """Restore modes, buffers, ``requires_grad`` and random state at the end; yield a function that restores buffers."""
    modes = {module: module.training for module in net.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]
    trained = {parameter: parameter.requires_grad for parameter in net.parameters()}

    @torch.no_grad()
    def restore_buffers() -> None:
        for buffer, before in buffers:
            buffer.copy_(before)

    devices = {tensor.device for tensor in chain(trained, net.buffers()) if tensor.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield restore_buffers
        finally:
            restore_buffers()
            net.train()  # here timm's networks delete what they cache in evaluation mode (attention biases)
            for module, training in modes.items():
                module.training = training
            for parameter, requires_grad in trained.items():
                parameter.requires_grad_(requires_grad)
