"""The context of one training, shared by both phases."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from drft.config.trial_config import TrialConfig
from drft.data.augment import Views
from drft.data.splits import Split
from drft.feature_cache.cache import ActivationCache
from drft.feature_cache.features import FrozenPrefix, ImageViews
from drft.feature_cache.network import BoundaryCost, SplitNetwork
from drft.models.backbone import Model
from drft.models.devices import gpu_batch
from drft.training.records import Part

_EVALUATION_PIXELS = 32 * 224**2
"""Pixels evaluated at once on a CPU: few enough for its caches, many enough to outweigh the cost of a call."""


@dataclass(frozen=True)
class TrainingContext:
    """Network, images and split of one training, shared by both phases."""

    config: TrialConfig
    network: SplitNetwork
    views: Views
    costs: Mapping[int, BoundaryCost]
    """Time and bytes of each boundary, by depth."""
    dataset: str
    """Digest of the images, their order, and how they are decoded and augmented; part of every cache key."""
    cache: ActivationCache | None
    """Cache of activations; None to compute them whenever they are needed."""
    split: Split
    grades: NDArray[np.int64]
    """Class of every image of the data set, shape (images,)."""
    classes: int

    @property
    def model(self) -> Model:
        """The backbone with its head."""
        return self.network.model

    @property
    def device(self) -> torch.device:
        """Device of the training."""
        return self.network.device

    def indices(self, part: Part) -> NDArray[np.int64]:
        """Return the indices of the images of one part."""
        parts: Mapping[Part, NDArray[np.int64]] = {
            "train": self.split.train,
            "validation": self.split.validation,
            "test": self.split.test,
        }
        return parts[part]

    def prefix(self, depth: int, *, only_this_boundary: bool) -> FrozenPrefix:
        """Return the frozen part of the network below ``depth``; ``only_this_boundary`` as in ``FrozenPrefix``."""
        return FrozenPrefix(
            self.network,
            self.views,
            costs=self.costs,
            dataset=self.dataset,
            depth=depth,
            cache=self.cache,
            only_this_boundary=only_this_boundary,
        )

    def images(self, part: Part, view: int = 0, strength: float = 0.0) -> ImageViews:
        """Return one part of the images in one view.

        With folds, the cached features are those of all training images, so that the folds share them.
        """
        folds = self.config.split.folds is not None and part != "test"
        among = np.union1d(self.split.train, self.split.validation) if folds else None
        return ImageViews(self.indices(part), view, strength, among)

    def evaluation_batches(self, count: int) -> list[NDArray[np.int64]]:
        """Divide ``count`` images into batches of the size that is evaluated at once."""
        if self.device.type == "cuda":
            return np.array_split(np.arange(count), -(-count // gpu_batch(self.device, self.config.image_size)))
        return np.array_split(np.arange(count), -(-count * self.config.image_size**2 // _EVALUATION_PIXELS))
