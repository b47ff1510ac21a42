"""Models from finished trainings without further training: interpolated and averaged weights, ensembles, temperature.

The trainings that are combined are fixed beforehand and not chosen by their scores: the baseline and four that differ
from it in one setting each. Each combination is compared with the baseline of its seed, like a strategy.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drft.data import ImageDataset
from drft.metrics import Scores, score
from drft.models.checkpoint import read_checkpoint
from study.analysis import Withheld
from study.soup.evaluator import Evaluator
from study.soup.ingredients import Ingredient
from study.soup.scores import cross_fitted_temperature
from study.soup.selection import EnsembleRecipe

COMBINED = ("baseline", "no layer-wise decay", "layer-wise decay 0.5", "label smoothing 0.1", "EMA 0.99")
"""The trainings that are combined, by the name of their strategy."""

SOURCES = {
    "WiSE-FT, half way": "Wortsman et al. 2022b",
    f"soup of {len(COMBINED)}": "Wortsman et al. 2022a",
    f"ensemble of {len(COMBINED)}": "Lakshminarayanan et al. 2017",
    "greedy soup, chosen on these images": "Wortsman et al. 2022a",
    "temperature": "Guo et al. 2017",
}

_ALL = tuple(range(len(COMBINED)))
_RECIPES = (
    EnsembleRecipe("WiSE-FT, half way", "weights", (0,), 0.5),
    EnsembleRecipe(f"soup of {len(COMBINED)}", "weights", _ALL),
    EnsembleRecipe(f"ensemble of {len(COMBINED)}", "probabilities", _ALL),
)

Floats = NDArray[np.float64]


def combine(dataset: ImageDataset, checkpoints: Mapping[str, Path]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield name and figures of every combination of one seed's trainings.

    Args:
        dataset: the images.
        checkpoints: the best epoch of each training in ``COMBINED``, by name.

    Raises:
        WeightsError: when a checkpoint cannot be read.
    """
    stored = [read_checkpoint(checkpoints[name]) for name in COMBINED]
    evaluator = Evaluator(dataset, [Ingredient(i, file.config, file.tensors) for i, file in enumerate(stored)])
    for recipe in (*_RECIPES, _greedy_soup(evaluator)):
        yield recipe.name, _figures(evaluator, recipe)
    baseline = EnsembleRecipe("baseline", "weights", (0,))
    grades, probabilities = evaluator.grades("validation"), evaluator.probabilities(baseline, "validation")
    scaled = cross_fitted_temperature(grades, probabilities)
    if not isinstance(scaled, Withheld):
        yield "temperature", {**_figures(evaluator, baseline), "nll": scaled[0].value}


def _greedy_soup(evaluator: Evaluator) -> EnsembleRecipe:
    """Add one training after another, the best first, where it does not lower the soup's accuracy."""

    def accuracy(trials: tuple[int, ...]) -> float:
        recipe = EnsembleRecipe("", "weights", trials)
        return _scores(evaluator.probabilities(recipe, "validation"), evaluator.grades("validation")).accuracy

    first, *others = sorted(_ALL, key=lambda trial: (-accuracy((trial,)), trial))
    soup: tuple[int, ...] = (first,)
    for trial in others:
        soup = (*soup, trial) if accuracy((*soup, trial)) >= accuracy(soup) else soup
    return EnsembleRecipe("greedy soup, chosen on these images", "weights", soup)


def _figures(evaluator: Evaluator, recipe: EnsembleRecipe) -> dict[str, float]:
    train = _scores(evaluator.probabilities(recipe, "train"), evaluator.grades("train"))
    validation = _scores(evaluator.probabilities(recipe, "validation"), evaluator.grades("validation"))
    return {
        "accuracy": validation.accuracy,
        "qwk": validation.qwk,
        "nll": validation.loss,
        "gap": train.accuracy - validation.accuracy,
    }


def _scores(probabilities: Floats, grades: NDArray[np.int64]) -> Scores:
    return score(np.log(np.maximum(probabilities, 1e-12)).astype(np.float32), grades)
