"""Combine the weights or the predictions of trials, and predict the images of a data set with the result.

A state holds the tensors that a training changed; all others have their pretrained values.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drft.config.trial_config import Metric
from drft.data import ImageDataset, Progress
from drft.feature_cache.features import Features
from drft.models.blocks import head_names
from drft.models.checkpoint import changed_tensors
from drft.models.probabilities import PREFIX, learned_tensors
from drft.training.records import Part
from drft.training.regularization.stoch_norm import BatchNorm
from drft.training.session import TrainingSession
from study.soup.ingredients import Ingredient
from study.soup.selection import ALPHAS, EnsembleCandidates, EnsembleRecipe, Floats, candidate_count, recipe_at

State = Mapping[str, Tensor]

_BATCH = 32

_STATISTICS_IMAGES = 128
"""Number of training images on which the statistics of batch norms are estimated."""


class InterpolationPoint(NamedTuple):
    """Accuracies of the best trial between its pretrained (alpha 0) and its tuned weights (1)."""

    alpha: float
    validation_accuracy: float
    train_accuracy: float


def average(states: Sequence[State], pretrained: State) -> dict[str, Tensor]:
    """Return the mean of at least one state: a model soup (Wortsman et al. 2022, ICML, *Model soups*).

    Integer tensors (the counters of batch norms) are those of the first state.

    Args:
        states: of the trials.
        pretrained: all tensors of the network before training.
    """
    soup = {}
    for name in dict.fromkeys(name for state in states for name in state):
        tensors = [state.get(name, pretrained[name]) for state in states]
        soup[name] = torch.stack(tensors).mean(dim=0) if tensors[0].is_floating_point() else tensors[0]
    return soup


def interpolate(tuned: State, pretrained: State, alpha: float, head: Collection[str]) -> dict[str, Tensor]:
    """Return weights between the pretrained and the tuned ones: WiSE-FT (Wortsman et al. 2022, CVPR).

    The paper interpolates a zero-shot or probed head as well. The head after the head phase is not stored, so the
    tuned head stays unchanged.

    Args:
        tuned: the state of a trial.
        pretrained: all tensors of the network before training.
        alpha: 0 for the pretrained backbone, 1 for the tuned one.
        head: names of the classifier's tensors.
    """
    return {
        name: tensor if name in head or not tensor.is_floating_point() else torch.lerp(pretrained[name], tensor, alpha)
        for name, tensor in tuned.items()
    }


class Evaluator:
    """Predicts the images of a data set with combinations of trials, as trainings do after each epoch.

    Everything before the deepest block that any of the trials trained is the same for all combinations, and is
    computed once. Combined weights produce other activations than those of any trial. Batch-norm statistics that one
    of the combined trials changed are therefore estimated again on plain training images (Izmailov et al. 2018); the
    others stay pretrained. A single trial keeps its own statistics.

    Args:
        dataset: the images.
        ingredients: the trials; backbone, image size, precision and split are those of the first one.
    """

    def __init__(self, dataset: ImageDataset, ingredients: Sequence[Ingredient]) -> None:
        self._dataset = dataset
        self._states: dict[int, State] = {}
        self._link_states: dict[int, State] = {}
        for trial, _, state in ingredients:
            self._states[trial] = {name: tensor for name, tensor in state.items() if not name.startswith(PREFIX)}
            self._link_states[trial] = {
                name.removeprefix(PREFIX): tensor for name, tensor in state.items() if name.startswith(PREFIX)
            }
        self._context = TrainingSession(dataset).prepare(ingredients[0].config)
        model = self._context.model
        self._net, self._link, self._pretrained = model.net.eval(), model.probabilities, model.pretrained
        depth = max(ingredient.config.depth for ingredient in ingredients)
        self._prefix = self._context.prefix(depth, only_this_boundary=False)
        # Caches of this object: one on the class would keep every evaluator alive.
        self._features = cache(self._open_features)
        self._predictions = cache(self._predict)

    @property
    def classes(self) -> int:
        """Number of outputs of the head."""
        return self._context.classes

    def grades(self, part: Part) -> NDArray[np.int64]:
        """Return the true grades of a part of the data set, shape (images,)."""
        return self._context.grades[self._context.indices(part)]

    def ids(self, part: Part) -> list[str]:
        """Return the ids of the images of a part."""
        return [self._dataset.images[index].id for index in self._context.indices(part)]

    def probabilities(self, recipe: EnsembleRecipe, part: Part) -> Floats:
        """Return the class probabilities of the plain images of a part, shape (images, grades)."""
        if recipe.kind == "weights":
            return self._predictions(recipe.trials, recipe.alpha, part)
        return np.asarray(np.mean([self._predictions((trial,), None, part) for trial in recipe.trials], axis=0))

    def accuracy(self, recipe: EnsembleRecipe, part: Part) -> float:
        """Return the accuracy on a part."""
        return float((self.probabilities(recipe, part).argmax(axis=1) == self.grades(part)).mean())

    def checkpoint_tensors(self, recipe: EnsembleRecipe) -> dict[str, NDArray[np.generic]]:
        """Return the tensors of a checkpoint of a recipe that makes one network."""
        self._load(recipe.trials, recipe.alpha)
        return changed_tensors(self._net, self._pretrained) | learned_tensors(self._link)

    def _open_features(self, part: Part) -> Features:
        return self._prefix.open(self._context.images(part))

    @torch.no_grad()
    def _predict(self, trials: tuple[int, ...], alpha: float | None, part: Part) -> Floats:
        self._load(trials, alpha)
        rows = np.arange(len(self._features(part)))
        log_probabilities: Tensor = self._link(self._outputs(part, rows))
        return np.asarray(log_probabilities.cpu().double().softmax(dim=1))

    def _outputs(self, part: Part, rows: NDArray[np.int64]) -> Tensor:
        features, batches = self._features(part), np.array_split(rows, -(-len(rows) // _BATCH))
        return torch.cat([self._prefix.suffix(features.batch(batch)) for batch in batches])

    def _load(self, trials: tuple[int, ...], alpha: float | None) -> None:
        """Load averaged (``alpha`` None) or interpolated weights, with their statistics and their link."""
        states = [self._states[trial] for trial in trials]
        if alpha is None:
            combined = average(states, self._pretrained)
        else:
            combined = interpolate(states[0], self._pretrained, alpha, head_names(self._net))
        self._net.load_state_dict({**self._pretrained, **combined})
        # At alpha 0 the backbone is the pretrained one, and its statistics are right.
        if len(trials) > 1 or alpha:
            self._estimate_statistics(self._changed_norms(trials))
        if len(trials) == 1 and alpha is None:
            self._link.load_state_dict(self._link_states[trials[0]])
        elif self._link.state_dict():  # a link that is learned is learned again, as at the end of a training
            rows = np.arange(len(self._features("train")))
            self._link.fit(self._outputs("train", rows), torch.from_numpy(self.grades("train")))

    def _changed_norms(self, trials: Sequence[int]) -> list[BatchNorm]:
        """Return the batch norms whose running statistics any of these trials changed."""
        changed = {
            name.removesuffix(".running_mean")
            for trial in trials
            for name, tensor in self._states[trial].items()
            if name.endswith(".running_mean") and not torch.equal(tensor, self._pretrained[name])
        }
        modules = self._net.named_modules()
        return [module for name, module in modules if name in changed and isinstance(module, BatchNorm)]

    @torch.no_grad()
    def _estimate_statistics(self, norms: Sequence[BatchNorm]) -> None:
        """Estimate the statistics of batch norms; the rest of the network stays in evaluation mode."""
        if not norms:
            return
        # torch.optim.swa_utils.update_bn resets all batch norms and puts the whole network into training mode.
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative average: all batches have equal weight
            norm.train()
        images = len(self._features("train"))
        self._outputs("train", np.linspace(0, images - 1, min(images, _STATISTICS_IMAGES)).astype(np.int64))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def predict_candidates(
    evaluator: Evaluator, trials: tuple[int, ...], metric: Metric, progress: Progress
) -> EnsembleCandidates:
    """Predict the validation images with every candidate that can be made of the trials."""
    count, probabilities = candidate_count(len(trials)), []
    for column in range(count):
        progress("predicting with soups and ensembles", column, count)
        probabilities.append(evaluator.probabilities(recipe_at("", column, trials), "validation"))
    return EnsembleCandidates(trials, np.array(probabilities), evaluator.grades("validation"), metric)


def accuracy_by_alpha(evaluator: Evaluator, trial: int) -> tuple[InterpolationPoint, ...]:
    """Return the accuracies of a trial between its tuned and its pretrained weights."""
    recipes = [EnsembleRecipe("WiSE-FT", "weights", (trial,), None if alpha == 1 else alpha) for alpha in ALPHAS]
    return tuple(
        InterpolationPoint(alpha, evaluator.accuracy(recipe, "validation"), evaluator.accuracy(recipe, "train"))
        for alpha, recipe in zip(ALPHAS, recipes, strict=True)
    )
