"""Models from finished trainings without further training: interpolated and averaged weights, and an ensemble.

The trainings that are combined are fixed beforehand and not chosen by their scores: the baseline and four that differ
from it in one setting each. Each combination is compared with the baseline on the same split, like a strategy.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drft.data import ImageDataset
from drft.models.checkpoint import read_checkpoint
from study.soup.evaluator import Evaluator
from study.soup.ingredients import Ingredient
from study.soup.selection import EnsembleRecipe

COMBINED = ("baseline", "no layer-wise decay", "layer-wise decay 0.5", "label smoothing 0.1", "EMA 0.99")
"""The trainings that are combined, by the name of their strategy."""

KEPT = "baseline, best epoch"
"""The baseline with the weights of its best epoch, as every training is combined."""

SOURCES = {
    "WiSE-FT, half way": "Wortsman et al. 2022b",
    f"soup of {len(COMBINED)}": "Wortsman et al. 2022a",
    f"ensemble of {len(COMBINED)}": "Lakshminarayanan et al. 2017",
}

_ALL = tuple(range(len(COMBINED)))
_RECIPES = (
    EnsembleRecipe(KEPT, "weights", (0,)),
    EnsembleRecipe("WiSE-FT, half way", "weights", (0,), 0.5),
    EnsembleRecipe(f"soup of {len(COMBINED)}", "weights", _ALL),
    EnsembleRecipe(f"ensemble of {len(COMBINED)}", "probabilities", _ALL),
)

Floats = NDArray[np.float64]


def combine(dataset: ImageDataset, checkpoints: Mapping[str, Path]) -> Iterator[tuple[str, Floats, float]]:
    """Yield every combination of the trainings on one split, and the baseline alone.

    Args:
        dataset: the images.
        checkpoints: the best epoch of each training in ``COMBINED``, by name.

    Yields:
        Name, class probabilities of the validation images, shape (images, classes), and train minus validation
        accuracy.

    Raises:
        WeightsError: when a checkpoint cannot be read.
    """
    stored = [read_checkpoint(checkpoints[name]) for name in COMBINED]
    evaluator = Evaluator(dataset, [Ingredient(i, file.config, file.tensors) for i, file in enumerate(stored)])
    for recipe in _RECIPES:
        validation = evaluator.probabilities(recipe, "validation")
        train = evaluator.probabilities(recipe, "train")
        gap = _accuracy(train, evaluator.grades("train")) - _accuracy(validation, evaluator.grades("validation"))
        yield recipe.name, validation, gap


def _accuracy(probabilities: Floats, grades: NDArray[np.int64]) -> float:
    return float((probabilities.argmax(axis=1) == grades).mean())
