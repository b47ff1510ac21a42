"""What the phases of one fine-tuning share."""

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
from drft.training.records import Part

_EVALUATION_PIXELS = 32 * 224**2
"""Pixels evaluated at once: so many stay in the processor's caches and outweigh the cost of a call."""


@dataclass(frozen=True)
class TrainingContext:
    """What both phases share: the network, the images and how they are divided."""

    config: TrialConfig
    network: SplitNetwork
    views: Views
    costs: Mapping[int, BoundaryCost]
    """What it takes to come to each boundary."""
    dataset: str
    """Digest of the images, their decoding and their views."""
    cache: ActivationCache | None
    """Where activations are kept; None where they are computed whenever they are needed."""
    split: Split
    grades: NDArray[np.int64]
    """Grades of all images of the data set."""
    classes: int

    @property
    def model(self) -> Model:
        """The backbone with its head."""
        return self.network.model

    @property
    def device(self) -> torch.device:
        """Where the training runs."""
        return self.network.device

    def indices(self, part: Part) -> NDArray[np.int64]:
        """Return the images of one part."""
        parts: Mapping[Part, NDArray[np.int64]] = {
            "train": self.split.train,
            "validation": self.split.validation,
            "test": self.split.test,
        }
        return parts[part]

    def prefix(self, depth: int, *, passing: bool) -> FrozenPrefix:
        """Return what comes before the trained part of the network; ``passing`` as ``FrozenPrefix`` says."""
        return FrozenPrefix(
            self.network,
            self.views,
            costs=self.costs,
            dataset=self.dataset,
            depth=depth,
            cache=self.cache,
            passing=passing,
        )

    def images(self, part: Part, view: int = 0, strength: float = 0.0) -> ImageViews:
        """Return one part in one view. Folds share what is computed of their images, which are the same."""
        folds = self.config.split.folds is not None and part != "test"
        among = np.union1d(self.split.train, self.split.validation) if folds else None
        return ImageViews(self.indices(part), view, strength, among)

    def evaluation_batches(self, count: int) -> list[NDArray[np.int64]]:
        """Divide ``count`` images into as many as are evaluated at once."""
        return np.array_split(np.arange(count), -(-count * self.config.image_size**2 // _EVALUATION_PIXELS))
