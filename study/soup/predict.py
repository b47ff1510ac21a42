"""All mixtures of some trials, asked one after the other."""

from typing import NamedTuple

import numpy as np

from drft.config.trial_config import Metric
from drft.data import Progress
from study.soup import select as choice
from study.soup.candidates import ALPHAS, EnsembleCandidates, EnsembleRecipe
from study.soup.evaluation import Evaluator

_WORK = "grading with mixtures"


class InterpolationPoint(NamedTuple):
    """The best trial, interpolated."""

    alpha: float
    validation_accuracy: float
    train_accuracy: float


def ask_all(evaluator: Evaluator, trials: tuple[int, ...], metric: Metric, tell: Progress) -> EnsembleCandidates:
    """Return what every mixture of the trials says of the validation images."""
    some = [choice.members_of(index, trials) for index in range(len(choice.subsets(len(trials))))]
    soups = [EnsembleRecipe("soup", "weights", members) for members in some]
    ensembles = [EnsembleRecipe("ensemble", "probabilities", members) for members in some]
    between = [interpolation(trials[0], alpha) for alpha in ALPHAS]
    said = []
    for done, recipe in enumerate((*soups, *ensembles, *between)):
        tell(_WORK, done, 2 * len(some) + len(between))
        said.append(evaluator.probabilities(recipe, "validation"))
    of_soups, of_ensembles, of_between = np.split(np.array(said), [len(some), 2 * len(some)])
    return EnsembleCandidates(trials, of_soups, of_ensembles, of_between, evaluator.grades("validation"), metric)


def interpolation(trial: int, alpha: float) -> EnsembleRecipe:
    """Return a trial between its tuned (1) and its pretrained weights (0); at 1 it is the trial."""
    return EnsembleRecipe("WiSE-FT", "weights", (trial,), None if alpha == 1 else alpha)


def along_alpha(evaluator: Evaluator, trial: int) -> tuple[InterpolationPoint, ...]:
    """Return accuracies of a trial between its tuned and its pretrained weights."""
    points = []
    for alpha in ALPHAS:
        recipe = interpolation(trial, alpha)
        right = [
            evaluator.probabilities(recipe, "validation").argmax(axis=1) == evaluator.grades("validation"),
            evaluator.probabilities(recipe, "train").argmax(axis=1) == evaluator.grades("train"),
        ]
        points.append(InterpolationPoint(alpha, *(float(part.mean()) for part in right)))
    return tuple(points)
