"""Features: the activations at the boundary between frozen and trained blocks, from the cache or computed.

Augmented views are pure functions and the blocks before the boundary are frozen, so activations at a boundary depend
only on the weights, the boundary, the image and the view, and every trial, worker and later study can use them. Cost
alone decides which boundaries are cached: activations of early blocks are large and cheap to compute. A training whose
boundary is not cached starts from the last cached boundary before it, or from the 8-bit images.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drft.data.augment import Views
from drft.feature_cache.cache import ActivationCache
from drft.feature_cache.cache_file import Activations, CacheEntry
from drft.feature_cache.index import CacheGroup
from drft.feature_cache.network import BoundaryCost, SplitNetwork
from drft.models.devices import autocast, device_memory, images_at_once

_SECONDS_PER_BYTE = 2e-9
"""Computing time per byte above which activations are cached: twice the time to copy a byte out of a mapped file."""

_CHUNK = 512
"""Images per cache entry, so that the activations of a large data set need not be in memory all at once."""

_BATCH = 32
"""Images that pass through the frozen blocks at once on a CPU."""

_DEVICE_SHARE = 32
"""One over the part of a training's GPU memory that the features of one part of the images may take: there are four
parts, and the features of one are in memory twice while they are put together."""


@dataclass(frozen=True)
class ImageViews:
    """Some images of a data set in one view."""

    indices: NDArray[np.int64]
    """Numbers of the images in the data set, shape (images,)."""
    view: int = 0
    """Number of the view (the epoch); plain images are the same in all views."""
    strength: float = 0.0
    """Augmentation strength; 0 for plain images."""
    stored_indices: NDArray[np.int64] | None = None
    """Images whose activations are stored together, ascending, including these; None for these alone."""

    @property
    def plain(self) -> bool:
        """Whether the images are not augmented."""
        return self.strength == 0

    @cached_property
    def chunks(self) -> tuple["ImageViews", ...]:
        """All images that are stored together, divided into the images of one cache entry each."""
        stored = self.indices if self.stored_indices is None else self.stored_indices
        starts = range(0, len(stored), _CHUNK)
        return tuple(ImageViews(stored[start : start + _CHUNK], self.view, self.strength) for start in starts)

    def stored_rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row numbers of some of these images in the chunks, counted through all chunks."""
        return rows if self.stored_indices is None else np.searchsorted(self.stored_indices, self.indices[rows])

    def pixels(self, views: Views, rows: NDArray[np.int64]) -> Tensor:
        """Return some of these images in their view, uint8 of shape (rows, 3, size, size)."""
        return views.augmented(self.indices[rows], self.view, self.strength)

    def name(self, views_seed: int) -> str:
        """Return the name of their cache entry. Plain images do not depend on the seed of the views."""
        digest = hashlib.sha256(np.ascontiguousarray(self.indices).data).hexdigest()[:16]
        return f"plain-{digest}" if self.plain else f"seed{views_seed}-strength{self.strength}-view{self.view}-{digest}"


class FrozenPrefix:
    """The frozen blocks of a network, before one boundary.

    Args:
        network: the network, its frozen blocks in evaluation mode.
        views: the images and their augmentation.
        costs: the cost of each boundary by depth, ``network.images_at`` first.
        dataset: digest of the data set, of the order of its images, and of how they are decoded and augmented. The
            order counts since cache entries are named by the positions of images.
        depth: depth of the training.
        cache: the cache; None to compute activations whenever they are needed.
        only_this_boundary: cache no earlier boundaries; for views that no training of another depth uses, those of the
            head phase.
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
        only_this_boundary: bool,
    ) -> None:
        self.network = network
        self.views = views
        self.depth = depth if depth in network.split_model.cuts else None
        """Depth of the boundary; None if the network cannot be cut there and runs as a whole."""
        self._cache = cache
        self._dataset = dataset
        lowest = network.images_at if self.depth is None else depth
        saved = boundaries_to_cache(costs, lowest) if cache is not None else {}
        self._groups = {at: self._group(at, saved[at]) for at in saved if not only_this_boundary or at == depth}

    def open(self, images: ImageViews) -> "Features":
        """Return the features of images; where they are to be cached and are not yet, compute and store them first."""
        cached_at = self._cached_boundaries(images)
        if self._cache is None or not cached_at:
            return Features(self, images, (), self.network.images_at, cached=False)
        at = min(cached_at)
        entries = [self._get_or_compute(self._cache, chunk, at) for chunk in images.chunks]
        return Features(self, images, [entry for entry, _ in entries], at, cached=all(found for _, found in entries))

    @property
    def batch_size(self) -> int:
        """Number of images that pass through the frozen blocks at once."""
        return images_at_once(self.network.device, self.views.size, _BATCH)

    def suffix(self, activations: Activations) -> Tensor:
        """Return the logits, float32 of shape (n, classes), of features from ``Features.batch``."""
        with autocast(self.network.precision, self.network.device):
            return self.network.split_model.suffix(self.depth, activations).float()

    def advance(self, activations: Activations, start: int, stops: Sequence[int]) -> dict[int, Activations]:
        """Return the activations at later boundaries, by depth.

        Args:
            activations: at the boundary ``start``; for ``network.images_at``, uint8 images as a 1-tuple.
            start: depth of the boundary to start from.
            stops: depths of the boundaries to return, none deeper than ``start``.
        """
        begin = None if start == self.network.images_at else start
        if begin is None:
            activations = (self.views.normalize(activations[0]),)
        with autocast(self.network.precision, self.network.device):
            return self.network.split_model.advance(activations, begin, stops)

    def _cached_boundaries(self, images: ImageViews) -> list[int]:
        """Return the boundaries at which such images are cached. Plain images themselves are in memory already."""
        return [at for at in self._groups if not (images.plain and at == self.network.images_at)]

    def _get_or_compute(self, cache: ActivationCache, chunk: ImageViews, at: int) -> tuple[CacheEntry, bool]:
        """Return the entry of a chunk at a boundary, and whether it was cached already."""
        group, name = self._groups[at], chunk.name(self.views.seed)
        entry = cache.get(group, name)
        if entry is not None:
            return entry, True
        with cache.lock(group, name):
            entry = cache.get(group, name)  # another worker may have computed it meanwhile
            return (entry, True) if entry is not None else (self._compute(cache, chunk, at), False)

    def _compute(self, cache: ActivationCache, chunk: ImageViews, at: int) -> CacheEntry:
        """Compute and store a chunk at a boundary and at all cached boundaries before it that lack it, in one pass."""
        name, images_at, boundaries = (
            chunk.name(self.views.seed),
            self.network.images_at,
            self._cached_boundaries(chunk),
        )
        # The pass starts from the last boundary before ``at`` that has an entry, else from the images.
        start, source = images_at, None
        for depth in sorted(boundaries):
            source = cache.get(self._groups[depth], name)
            if source is not None:
                start = depth
                break
        stops = [depth for depth in boundaries if at <= depth < start]
        computed: dict[int, list[Activations]] = {depth: [] for depth in stops}
        if source is None and images_at in boundaries:
            computed[images_at] = []
        count = len(chunk.indices)
        for rows in np.split(np.arange(count), range(self.batch_size, count, self.batch_size)):
            activations = source.rows(rows) if source else (chunk.pixels(self.views, rows),)
            activations = tuple(tensor.to(self.network.device) for tensor in activations)
            reached = self.advance(activations, start, stops) if stops else {}
            for depth, parts in computed.items():
                parts.append(reached.get(depth, activations))
        return {depth: cache.put(self._groups[depth], name, _joined(parts)) for depth, parts in computed.items()}[at]

    def _group(self, at: int, seconds_per_byte: float) -> CacheGroup:
        """Return the cache group of a boundary. Images depend on no network, so all networks share theirs."""
        network, size = self.network, self.views.size
        if at == network.images_at:
            key, name = f"{self._dataset} {size}", "views"
        else:
            key, name = f"{self._dataset} {size} {network.identity} {at}", network.name
        description: dict[str, str | int | float] = {"backbone": name, "depth": at, "image_size": size}
        return CacheGroup(hashlib.sha256(key.encode()).hexdigest()[:32], description, seconds_per_byte)


class Features:
    """The features of some images at the boundary of a ``FrozenPrefix``, read or computed batch by batch."""

    def __init__(
        self, prefix: FrozenPrefix, images: ImageViews, entries: Sequence[CacheEntry], at: int, *, cached: bool
    ) -> None:
        """Combine cache entries.

        Args:
            prefix: the frozen blocks.
            images: the images.
            entries: the cache entries of ``images.chunks``; none if nothing is cached.
            at: depth of the boundary of the entries; ``network.images_at`` without entries.
            cached: see the attribute.
        """
        self._prefix = prefix
        self._images = images
        self._entries = entries
        self._at = at
        self.cached = cached
        """Whether all entries were in the cache before these features were requested."""
        self._on_device = self._load() if prefix.network.device.type == "cuda" and len(self) else None

    def __len__(self) -> int:
        return len(self._images.indices)

    def batch(self, rows: NDArray[np.int64]) -> Activations:
        """Return the features of some images, by their row numbers, on the device of the network."""
        return self._compute(rows) if self._on_device is None else self._on_device.rows(rows)

    def _load(self) -> CacheEntry | None:
        """Return all features on the GPU, or None if they are too large to stay there."""
        limit, size = device_memory(self._prefix.network.device) / _DEVICE_SHARE, self._prefix.batch_size
        parts: list[Activations] = []
        for rows in np.split(np.arange(len(self)), range(size, len(self), size)):
            parts.append(self._compute(rows))
            if sum(tensor.nbytes for tensor in parts[0]) / len(parts[0][0]) * len(self) > limit:
                return None
        return CacheEntry.on_device(_joined(parts))

    def _compute(self, rows: NDArray[np.int64]) -> Activations:
        prefix, network = self._prefix, self._prefix.network
        if self._entries:
            stored = _gather(self._entries, self._images.stored_rows(rows))
        else:
            stored = (self._images.pixels(prefix.views, rows),)
        activations = tuple(tensor.to(network.device, non_blocking=True) for tensor in stored)
        if self._at == prefix.depth:
            return activations
        if prefix.depth is None:
            return (prefix.views.normalize(activations[0]),)
        return prefix.advance(activations, self._at, [prefix.depth])[prefix.depth]


def boundaries_to_cache(costs: Mapping[int, BoundaryCost], lowest: int) -> dict[int, float]:
    """Return the boundaries at which activations are cached, down to the depth ``lowest``.

    A boundary is cached if computing its activations from the last cached boundary before it takes longer than copying
    them out of a mapped file.

    Args:
        costs: cost of each boundary by depth, deepest first.
        lowest: the lowest depth to return.

    Returns:
        Computing time in seconds that one stored byte saves, by depth, deepest first.
    """
    saved: dict[int, float] = {}
    seconds = 0.0
    for depth, cost in costs.items():
        seconds += cost.seconds
        if depth >= lowest and cost.nbytes and seconds / cost.nbytes > _SECONDS_PER_BYTE:
            saved[depth] = seconds / cost.nbytes
            seconds = 0.0
    return saved


def _gather(entries: Sequence[CacheEntry], rows: NDArray[np.int64]) -> Activations:
    """Return rows in the given order; they are counted through all entries."""
    if len(entries) == 1:
        return entries[0].rows(rows)
    chunk = rows // _CHUNK
    parts = [entries[index].rows(rows[chunk == index] % _CHUNK) for index in np.unique(chunk)]
    restore = torch.from_numpy(np.argsort(np.argsort(chunk, kind="stable")))
    return tuple(tensor[restore] for tensor in _joined(parts))


def _joined(parts: Sequence[Activations]) -> Activations:
    return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))
