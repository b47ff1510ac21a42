"""Images of a data set graded by one network with changing weights."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from drft.data import ImageDataset
from drft.feature_cache.features import Features
from drft.models.blocks import head_names
from drft.models.checkpoint import changed_tensors
from drft.models.probabilities import PREFIX, learned_tensors
from drft.training.records import Part
from drft.training.session import TrainingSession
from study.soup.average import State, average, interpolate
from study.soup.candidates import EnsembleRecipe
from study.soup.ingredients import Ingredient

_BATCH = 32

_ESTIMATED_ON = 128
"""Training images on which running statistics of batch norms are estimated."""

Floats = NDArray[np.float64]


class Evaluator:
    """Grades the images of a data set by mixtures of trials, as the trainings did after each epoch.

    What comes before the deepest block that any of them trained is the same for all, and computed once. Mixed weights
    make other activations than any of the trials does, so running statistics of batch norms are estimated anew on
    plain training images (Izmailov et al. 2018), those that a trial moved; the others stay as pretrained. A trial
    by itself keeps its own.

    Args:
        dataset: the images.
        found: the trials; backbone, image size, precision and split are those of the first.
    """

    def __init__(self, dataset: ImageDataset, found: Sequence[Ingredient]) -> None:
        self._dataset = dataset
        self._states = {one.trial: _of_net(one.state) for one in found}
        self._links = {one.trial: _of_link(one.state) for one in found}
        self._context = TrainingSession(dataset).prepare(found[0].config)
        self._net, self._link = self._context.model.net.eval(), self._context.model.probabilities
        self._prefix = self._context.prefix(max(one.config.depth for one in found), passing=False)
        self._head = head_names(self._net)
        self._norms = self._moved_norms()
        self._supply = cache(self._open)
        self._said = cache(self._ask)

    @property
    def classes(self) -> int:
        """Outputs of the head."""
        return self._context.classes

    def grades(self, part: Part) -> NDArray[np.int64]:
        """Return the true grades of a part of the data set."""
        return self._context.grades[self._context.indices(part)]

    def ids(self, part: Part) -> list[str]:
        """Return the ids of the images of a part."""
        return [self._dataset.images[index].id for index in self._context.indices(part)]

    def probabilities(self, recipe: EnsembleRecipe, part: Part) -> Floats:
        """Return the class probabilities of the plain images of a part, shape (images, grades)."""
        if recipe.kind == "weights":
            return self._said(recipe.trials, recipe.alpha, part)
        return np.asarray(np.mean([self._said((one,), None, part) for one in recipe.trials], axis=0))

    def changed(self, recipe: EnsembleRecipe) -> dict[str, NDArray[np.generic]]:
        """Return the weights of a mixture that is one network as checkpoints hold them."""
        self._load(recipe.trials, recipe.alpha)
        return changed_tensors(self._net, self._context.model.pretrained) | learned_tensors(self._link)

    def _mixed(self, trials: tuple[int, ...], alpha: float | None) -> State:
        states, pretrained = [self._states[one] for one in trials], self._context.model.pretrained
        if alpha is None:
            return average(states, pretrained)
        return interpolate(states[0], pretrained, alpha, self._head)

    @torch.no_grad()
    def _ask(self, trials: tuple[int, ...], alpha: float | None, part: Part) -> Floats:
        self._load(trials, alpha)
        told: Tensor = self._link(self._outputs(part, np.arange(len(self._supply(part)))))
        return np.asarray(told.cpu().double().softmax(dim=1))

    def _outputs(self, part: Part, rows: NDArray[np.int64]) -> Tensor:
        images, batches = self._supply(part), np.array_split(rows, -(-len(rows) // _BATCH))
        return torch.cat([self._prefix.suffix(images.batch(batch)) for batch in batches])

    def _open(self, part: Part) -> Features:
        return self._prefix.open(self._context.images(part))

    def _load(self, trials: tuple[int, ...], alpha: float | None) -> None:
        whole: dict[str, Tensor] = {**self._context.model.pretrained, **self._mixed(trials, alpha)}
        self._net.load_state_dict(whole)
        if self._norms and (len(trials) > 1 or alpha):
            self._estimate_statistics()
        self._settle_link(trials, alpha)

    def _settle_link(self, trials: tuple[int, ...], alpha: float | None) -> None:
        """Take the link of a trial by itself; of a mixture, learn it from the training part, as trainings do."""
        if len(trials) == 1 and alpha is None:
            self._link.load_state_dict(self._links[trials[0]])
        elif self._link.state_dict():
            rows = np.arange(len(self._supply("train")))
            self._link.fit(self._outputs("train", rows), torch.from_numpy(self.grades("train")))

    def _moved_norms(self) -> list[nn.modules.batchnorm._NormBase]:
        """Return the batch norms whose running statistics some trial moved."""
        pretrained = self._context.model.pretrained
        moved = {
            name.removesuffix(".running_mean")
            for state in self._states.values()
            for name, tensor in state.items()
            if name.endswith(".running_mean") and not torch.equal(tensor, pretrained[name])
        }
        modules = dict(self._net.named_modules())
        return [norm for name in sorted(moved) if isinstance(norm := modules[name], nn.modules.batchnorm._NormBase)]

    @torch.no_grad()
    def _estimate_statistics(self) -> None:
        train = len(self._supply("train"))
        before = [norm.momentum for norm in self._norms]
        for norm in self._norms:
            norm.reset_running_stats()
            norm.momentum = None  # all batches count alike
            norm.train()
        self._outputs("train", np.linspace(0, train - 1, min(train, _ESTIMATED_ON)).astype(np.int64))
        for norm, momentum in zip(self._norms, before, strict=True):
            norm.momentum = momentum
            norm.eval()


def _of_net(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith(PREFIX)}


def _of_link(state: State) -> State:
    return {name.removeprefix(PREFIX): tensor for name, tensor in state.items() if name.startswith(PREFIX)}
