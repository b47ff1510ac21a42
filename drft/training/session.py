"""What stays in memory between the trainings of a process: decoded images, networks and cached activations.

A trial in a warm session imports nothing, decodes no image and reads no weight file.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drft.config.trial_config import TrialConfig
from drft.config.validation import check
from drft.data.augment import VIEWS_VERSION, Views
from drft.data.dataset import ImageDataset
from drft.data.images import CROP_VERSION, load_images
from drft.data.splits import stratified_split
from drft.errors import ConfigError
from drft.feature_cache.cache import ActivationCache, default_memory
from drft.feature_cache.index import activations_folder, default_budget
from drft.feature_cache.network import BoundaryCost, SplitNetwork, build_network, now
from drft.files.atomic import default_cache_dir
from drft.models.devices import device_memory, images_at_once, pick_device, seed_torch
from drft.models.probabilities import make_probabilities
from drft.training.context import TrainingContext
from drft.training.regularization.stoch_norm import check_batch_norms

_NETWORKS = 2
"""Smallest number of networks kept in memory: one for each image size or precision in use, most often."""

_EXAMPLES = 8
"""Number of views whose computing time is measured on a CPU."""

_DEVICE_SHARE = 16
"""One over the part of a training's GPU memory that the decoded images may take to stay there."""


class TrainingSession:
    """Prepares trainings on one data set, one after the other.

    Args:
        dataset: the images.
        cache_dir: folder for decoded images and activations; None for the user's cache folder.
        device: a torch device; None for the first GPU the process sees, else the CPU.
        cache_size: bytes on disk for the activations of all studies; None for a share of the free space; 0 turns the
            cache off, so that activations are computed whenever they are needed.
        processes: number of sessions that share the memory of this machine.
        networks: number of backbones that trainings alternate between; as many networks stay in memory.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        *,
        cache_dir: Path | None = None,
        device: str | None = None,
        cache_size: int | None = None,
        processes: int = 1,
        networks: int = 1,
    ) -> None:
        self.dataset = dataset
        self.device = pick_device(device)
        self._cache_dir = cache_dir or default_cache_dir()
        folder = activations_folder(self._cache_dir)
        budget = default_budget(folder) if cache_size is None else cache_size
        self._cache = ActivationCache(folder, budget, default_memory(processes)) if budget else None
        self._grades = dataset.labels()
        self._images: dict[int, NDArray[np.uint8] | Tensor] = {}
        self._view_costs: dict[int, BoundaryCost] = {}
        self._max_networks = max(networks, _NETWORKS)
        self._networks: OrderedDict[Hashable, SplitNetwork] = OrderedDict()

    def prepare(self, config: TrialConfig) -> TrainingContext:
        """Seed, split the data set, and set up images and network for one training.

        Raises:
            DataError: when an image cannot be read.
            BackboneError: when the backbone, its weights or the depth do not exist.
            ConfigError: when both phases have no epochs, settings contradict each other, or the device does not have
                the precision.
        """
        if config.head_phase.epochs + config.depth_phase.epochs == 0:
            raise ConfigError("head_phase.epochs and depth_phase.epochs are both 0: give at least one phase an epoch")
        check(config)
        seed_torch(config.seed)
        classes = len(self.dataset.grades)
        network = self._network(config).with_probabilities(make_probabilities(config.loss.kind, classes))
        model = network.model
        check_batch_norms(config, model.net)
        model.start_anew(config.seed, config.dropout, shared_score=config.loss.kind == "coral")
        size = config.image_size
        if size not in self._images:
            self._images[size] = self._load_images(size)
        views = Views(self._images[size], model.mean, model.std, device=self.device, seed=config.augmentation.seed)
        return TrainingContext(
            config=config,
            network=network,
            views=views,
            costs=self._costs(network, views),
            dataset=f"{self.dataset.ordered_fingerprint} {CROP_VERSION} {VIEWS_VERSION}",
            cache=self._cache,
            split=stratified_split(self.dataset, config.split),
            grades=self._grades,
            classes=classes,
        )

    def _load_images(self, size: int) -> NDArray[np.uint8] | Tensor:
        """Return the decoded images, on the GPU if there is one and they take a small part of its memory."""
        images = load_images(self.dataset, size, cache_dir=self._cache_dir)
        if self.device.type != "cuda" or images.nbytes > device_memory(self.device) / _DEVICE_SHARE:
            return images
        return torch.from_numpy(np.array(images)).to(self.device)

    def _network(self, config: TrialConfig) -> SplitNetwork:
        """Return the network of a configuration; build it unless it is in memory."""
        random = config.seed if config.backbone.weights == "none" else None
        key = (config.backbone, config.image_size, config.precision, random)
        if key not in self._networks:
            self._networks[key] = build_network(config, len(self.dataset.grades), self.device)
            while len(self._networks) > self._max_networks:
                self._networks.popitem(last=False)
        self._networks.move_to_end(key)
        return self._networks[key]

    def _costs(self, network: SplitNetwork, views: Views) -> Mapping[int, BoundaryCost]:
        """Return the cost of every boundary, that of the augmented views first."""
        if views.size not in self._view_costs:
            count = images_at_once(self.device, views.size, _EXAMPLES)
            examples = np.arange(min(count, len(views)))
            views.augmented(examples, 1, 0.5)  # the first call allocates
            started = now(self.device)
            made = views.augmented(examples, 1, 0.5)
            self._view_costs[views.size] = BoundaryCost((now(self.device) - started) / len(examples), made[0].nbytes)
        return {network.images_at: self._view_costs[views.size], **network.costs}
