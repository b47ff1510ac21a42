"""The frozen prefix as a source of activations: those that are kept where there are any, else computed.

Views are pure functions and the prefix is frozen, so what crosses a boundary is a pure function of (weights,
boundary, image, view): computed once, it serves every trial, worker and later study. Which boundaries are worth
keeping is a matter of cost alone: early ones are large and cheap to compute again, so a training at such a depth
starts from the last boundary before it that is kept, or from the 8-bit image.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drft.data.augment import Views
from drft.feature_cache.cache import ActivationCache, CacheGroup
from drft.feature_cache.cache_file import CacheEntry
from drft.feature_cache.network import BoundaryCost, SplitNetwork
from drft.feature_cache.split_model import Activations
from drft.models.devices import autocast

_SECONDS_PER_BYTE = 2e-9
"""What computing must cost for a byte to be worth keeping: twice the time of copying it out of a mapped file."""

_SHEET = 512
"""Images in one entry of the cache, so that a large data set never lies in memory as a whole."""

_PASS = 32
"""Images that go through the prefix at once."""


@dataclass(frozen=True)
class ImageViews:
    """Some images of a data set, all in one view."""

    indices: NDArray[np.int64]
    view: int = 0
    strength: float = 0.0
    """0 for the plain images, whatever the view."""
    among: NDArray[np.int64] | None = None
    """Images, ascending and these among them, of which activations are kept together; None for these alone."""

    @property
    def plain(self) -> bool:
        """Whether these are the images as they are."""
        return self.strength == 0

    @cached_property
    def sheets(self) -> tuple["ImageViews", ...]:
        """The images that are kept together, in parts that are kept as one entry each."""
        kept = self.indices if self.among is None else self.among
        parts = range(0, len(kept), _SHEET)
        return tuple(ImageViews(kept[start : start + _SHEET], self.view, self.strength) for start in parts)

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where some of these images are in the sheets."""
        return rows if self.among is None else np.searchsorted(self.among, self.indices[rows])

    def made_by(self, views: Views, rows: NDArray[np.int64] | slice) -> Tensor:
        """Return some of them, uint8 of shape (rows, 3, size, size)."""
        return views.augmented(self.indices[rows], self.view, self.strength)

    def name(self, views_seed: int) -> str:
        """Return the name under which their activations are kept."""
        which = hashlib.sha256(np.ascontiguousarray(self.indices).data).hexdigest()[:16]
        return f"plain-{which}" if self.plain else f"seed{views_seed}-strength{self.strength}-view{self.view}-{which}"


class FrozenPrefix:
    """Everything before one boundary of a network.

    Args:
        network: the network, its frozen part in evaluation mode.
        views: makes the images.
        costs: of each boundary, ``network.images_at`` first.
        dataset: digest of the data set and of how its images are decoded.
        depth: the depth of the training.
        cache: where activations are kept; None computes them whenever they are asked for.
        passing: whether views are of no use at other depths (the head phase): then only this boundary is kept.
    """

    def __init__(
        self,
        network: SplitNetwork,
        views: Views,
        *,
        costs: Mapping[int, BoundaryCost],
        dataset: str,
        depth: int,
        cache: ActivationCache | None,
        passing: bool,
    ) -> None:
        self.network = network
        self.views = views
        self.depth = depth if depth in network.chain.cuts else None
        """The boundary; None where the network cannot be cut there and runs as a whole."""
        self._cache = cache
        self._dataset = dataset
        lowest = network.images_at if self.depth is None else depth
        worth = worth_keeping(costs, lowest) if cache is not None else {}
        self._groups = {at: self._group(at, each) for at, each in worth.items() if not passing or at == depth}

    def open(self, images: ImageViews) -> "Features":
        """Return what crosses the boundary for these images, computing and keeping what is worth it."""
        kept = self._kept(images)
        if self._cache is None or not kept:
            return Features(self, images, (), self.network.images_at, cached=False)
        at = min(kept)
        found = [self._entry(self._cache, sheet, at) for sheet in images.sheets]
        return Features(self, images, [entry for entry, _ in found], at, cached=all(known for _, known in found))

    def suffix(self, activations: Activations) -> Tensor:
        """Return the logits, float32 of shape (n, classes), of what ``Supply.batch`` gave."""
        with autocast(self.network.precision, self.network.device):
            return self.network.chain.suffix(self.depth, activations).float()

    def advance(self, activations: Activations, start: int, stops: Sequence[int]) -> dict[int, Activations]:
        """Run the frozen network from one boundary on."""
        if start == self.network.images_at:
            activations = (self.views.normalize(activations[0]),)
        with autocast(self.network.precision, self.network.device):
            begun = None if start == self.network.images_at else start
            return self.network.chain.advance(activations, begun, stops)

    def _kept(self, images: ImageViews) -> list[int]:
        """Return where activations of such images are kept; plain images are kept decoded already."""
        return [at for at in self._groups if not (images.plain and at == self.network.images_at)]

    def _entry(self, cache: ActivationCache, sheet: ImageViews, at: int) -> tuple[CacheEntry, bool]:
        """Return the entry of a boundary, and whether it was there already."""
        group, name = self._groups[at], sheet.name(self.views.seed)
        entry = cache.get(group, name)
        if entry is not None:
            return entry, True
        with cache.lock(group, name):
            entry = cache.get(group, name)
            return (entry, True) if entry is not None else (self._fill(cache, sheet, at), False)

    def _fill(self, cache: ActivationCache, sheet: ImageViews, at: int) -> CacheEntry:
        """Compute and keep what crosses a boundary and those before it, in one pass from the last one kept."""
        name, start, known = sheet.name(self.views.seed), self.network.images_at, None
        for depth in sorted(self._kept(sheet)):
            known = cache.get(self._groups[depth], name)
            if known is not None:
                start = depth
                break
        stops = [depth for depth in self._kept(sheet) if at <= depth < start]
        made: dict[int, list[Activations]] = {depth: [] for depth in stops}
        if known is None and self.network.images_at in self._kept(sheet):
            made[start] = []
        for rows in _passes(len(sheet.indices)):
            activations = known.rows(rows) if known else (sheet.made_by(self.views, rows),)
            activations = tuple(tensor.to(self.network.device) for tensor in activations)
            crossings = self.advance(activations, start, stops) if stops else {}
            for depth, parts in made.items():
                parts.append(crossings.get(depth, activations))
        return {depth: cache.put(self._groups[depth], name, _joined(parts)) for depth, parts in made.items()}[at]

    def _group(self, at: int, seconds_per_byte: float) -> CacheGroup:
        """Return where a boundary is kept. Images depend on no network, so all networks share them."""
        network, size = self.network, self.views.size
        if at == network.images_at:
            key, what = f"{self._dataset} {size}", "views"
        else:
            key, what = f"{self._dataset} {size} {network.identity} {at}", network.name
        about: dict[str, str | int | float] = {"backbone": what, "depth": at, "image_size": size}
        return CacheGroup(hashlib.sha256(key.encode()).hexdigest()[:32], about, seconds_per_byte)


class Features:
    """What crosses a boundary for a set of images, by rows."""

    def __init__(
        self, prefix: FrozenPrefix, images: ImageViews, entries: Sequence[CacheEntry], at: int, *, cached: bool
    ) -> None:
        self._prefix = prefix
        self._images = images
        self._entries = entries
        self._at = at
        self.cached = cached
        """Whether everything was kept already when it was asked for."""

    def __len__(self) -> int:
        return len(self._images.indices)

    def batch(self, rows: NDArray[np.int64]) -> Activations:
        """Return the activations of some images, by their rows in the set, on the device of the network."""
        prefix, network = self._prefix, self._prefix.network
        activations = tuple(tensor.to(network.device, non_blocking=True) for tensor in self._read(rows))
        if self._at == prefix.depth:
            return activations
        if prefix.depth is None:
            return (prefix.views.normalize(activations[0]),)
        return prefix.advance(activations, self._at, [prefix.depth])[prefix.depth]

    def _read(self, rows: NDArray[np.int64]) -> Activations:
        if self._entries:
            return _gather(self._entries, self._images.places(rows))
        return (self._images.made_by(self._prefix.views, rows),)


def worth_keeping(costs: Mapping[int, BoundaryCost], lowest: int) -> dict[int, float]:
    """Return the boundaries, down to ``lowest``, whose activations are worth keeping.

    Going through the network, a boundary is worth it when computing on from the last one kept takes longer than
    copying its activations out of a mapped file.

    Args:
        costs: by depth, deepest first.
        lowest: the lowest depth that is asked about.

    Returns:
        Seconds of computing that a byte saves, by depth, deepest first.
    """
    worth: dict[int, float] = {}
    seconds = 0.0
    for depth, cost in costs.items():
        seconds += cost.seconds
        if depth >= lowest and cost.nbytes and seconds / cost.nbytes > _SECONDS_PER_BYTE:
            worth[depth] = seconds / cost.nbytes
            seconds = 0.0
    return worth


def _gather(sheets: Sequence[CacheEntry], rows: NDArray[np.int64]) -> Activations:
    """Return rows that lie in several entries, in the order they are asked for."""
    if len(sheets) == 1:
        return sheets[0].rows(rows)
    sheet = rows // _SHEET
    order = np.argsort(sheet, kind="stable")
    parts = [sheets[index].rows(rows[sheet == index] % _SHEET) for index in np.unique(sheet)]
    back = torch.from_numpy(np.argsort(order))
    return tuple(tensor[back] for tensor in _joined(parts))


def _joined(parts: Sequence[Activations]) -> Activations:
    return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))


def _passes(count: int) -> Iterator[NDArray[np.int64]]:
    return (np.arange(start, min(start + _PASS, count)) for start in range(0, count, _PASS))
