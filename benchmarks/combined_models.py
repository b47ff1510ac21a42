"""What can be made of finished trainings without training: interpolated and averaged weights, ensembles, temperature.

The trainings that are mixed were named beforehand and not chosen by their scores: the baseline and four that differ
from it in one setting each. Each mixture is held against the baseline of its seed, like a strategy.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drft.data import ImageDataset
from drft.metrics import Scores, score
from drft.models.checkpoint import read_checkpoint
from study.analysis import Withheld
from study.soup.candidates import EnsembleRecipe
from study.soup.crossfit import cross_fitted_temperature
from study.soup.evaluation import Evaluator
from study.soup.ingredients import Ingredient

MIXED = ("baseline", "no layer-wise decay", "layer-wise decay 0.5", "label smoothing 0.1", "EMA 0.99")
"""The trainings that are put together, by the name of their strategy."""

SOURCES = {
    "WiSE-FT, half way": "Wortsman et al. 2022b",
    f"soup of {len(MIXED)}": "Wortsman et al. 2022a",
    f"ensemble of {len(MIXED)}": "Lakshminarayanan et al. 2017",
    "greedy soup, chosen on these images": "Wortsman et al. 2022a",
    "temperature": "Guo et al. 2017",
}

_ALL = tuple(range(len(MIXED)))
_RECIPES = (
    EnsembleRecipe("WiSE-FT, half way", "weights", (0,), 0.5),
    EnsembleRecipe(f"soup of {len(MIXED)}", "weights", _ALL),
    EnsembleRecipe(f"ensemble of {len(MIXED)}", "probabilities", _ALL),
)

Floats = NDArray[np.float64]


def mix(dataset: ImageDataset, checkpoints: Mapping[str, Path]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield name and figures of every mixture of one seed's trainings.

    Args:
        dataset: the images.
        checkpoints: the best epoch of each training in ``MIXED``, by name.

    Raises:
        WeightsError: when a checkpoint cannot be read.
    """
    stored = [read_checkpoint(checkpoints[name]) for name in MIXED]
    found = [Ingredient(place, one.config, one.tensors) for place, one in enumerate(stored)]
    evaluator = Evaluator(dataset, found)
    train, validation = evaluator.grades("train"), evaluator.grades("validation")
    for recipe in (*_RECIPES, _greedy_soup(evaluator)):
        on_train = _scores(evaluator.probabilities(recipe, "train"), train)
        yield recipe.name, _figures(on_train, _scores(evaluator.probabilities(recipe, "validation"), validation))
    baseline = EnsembleRecipe("baseline", "weights", (0,))
    said = evaluator.probabilities(baseline, "validation")
    plain = _figures(_scores(evaluator.probabilities(baseline, "train"), train), _scores(said, validation))
    cooled = cross_fitted_temperature(validation, said)
    if not isinstance(cooled, Withheld):
        yield "temperature", {**plain, "nll": cooled[0].value}


def _greedy_soup(evaluator: Evaluator) -> EnsembleRecipe:
    """Add one training after the other, the best first, where the soup does not become worse by it."""

    def accuracy(trials: tuple[int, ...]) -> float:
        said = evaluator.probabilities(EnsembleRecipe("", "weights", trials), "validation")
        return _scores(said, evaluator.grades("validation")).accuracy

    first, *others = sorted(_ALL, key=lambda one: (-accuracy((one,)), one))
    soup = (first,)
    for one in others:
        soup = (*soup, one) if accuracy((*soup, one)) >= accuracy(soup) else soup
    return EnsembleRecipe("greedy soup, chosen on these images", "weights", soup)


def _scores(probabilities: Floats, grades: NDArray[np.int64]) -> Scores:
    return score(np.log(np.maximum(probabilities, 1e-12)).astype(np.float32), grades)


def _figures(train: Scores, validation: Scores) -> dict[str, float]:
    return {
        "accuracy": validation.accuracy,
        "qwk": validation.qwk,
        "nll": validation.loss,
        "gap": train.accuracy - validation.accuracy,
    }
