"""The mixtures of a study (``drft-study soup``) on the test images: asked once, when these are open."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from drft.data import Progress
from drft.errors import StudyError
from drft.training.records import Predictions
from study.results.open_dataset import data_source, reopen_dataset
from study.results.study_folder import CHECKPOINT
from study.results.study_results import StudyResults
from study.results.test_set import Confirmation, HeldOutTestSet, ensemble_predictions_file, write_ensemble_predictions
from study.setup.options import RunOptions

MIXTURES = "soup/soup.json"


def are_waiting(study: StudyResults) -> bool:
    """Return whether a study has mixtures that were not asked for the test images yet."""
    return (study.info.folder / MIXTURES).is_file() and not ensemble_predictions_file(study.location).exists()


def open_mixtures(
    study: StudyResults, confirmation: Confirmation | None, options: RunOptions, data: str | None, tell: Progress
) -> None:
    """Ask the mixtures of a study for the test images and keep what they say, sealed, beside the confirmation.

    Args:
        study: that they are of.
        confirmation: of the study, which has to be over.
        options: of the data source that are said anew.
        data: where the images of the study are now; None for where they were.
        tell: told how far the images are.

    Raises:
        StudyError: when the confirmation is not over, or a checkpoint that is mixed is gone.
        DataError: when the images are others, or cannot be read.
    """
    HeldOutTestSet(study, confirmation)
    recipes = _recipes(study)
    _check_checkpoints(study, recipes)
    # torch waits until there is something to ask
    from study.soup.candidates import EnsembleRecipe  # noqa: PLC0415
    from study.soup.evaluation import Evaluator  # noqa: PLC0415
    from study.soup.ingredients import read_ingredients  # noqa: PLC0415

    source, given = data_source(study.info, data, options.data_options)
    dataset = reopen_dataset(study.info, source, given, tell)
    evaluator = Evaluator(dataset, read_ingredients(study, _trials(recipes)))
    said = [
        evaluator.probabilities(EnsembleRecipe(**one | {"trials": tuple(one["trials"])}), "test") for one in recipes
    ]
    told = Predictions(tuple(evaluator.ids("test")), evaluator.grades("test"), np.array(said, dtype=np.float16))
    write_ensemble_predictions(study, recipes, told)


def _recipes(study: StudyResults) -> list[dict[str, Any]]:
    told = json.loads((study.info.folder / MIXTURES).read_text(encoding="utf-8"))
    return [one["recipe"] for one in told["judged"]]


def _trials(recipes: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the trials that are mixed, the first of the best mixture first."""
    return list(dict.fromkeys(trial for recipe in recipes for trial in recipe["trials"]))


def _check_checkpoints(study: StudyResults, recipes: Sequence[Mapping[str, Any]]) -> None:
    folder = study.info.folder / "trials"
    gone = [str(trial) for trial in _trials(recipes) if not (folder / f"{trial:04d}" / CHECKPOINT).is_file()]
    if gone:
        raise StudyError(
            f"the mixtures of study {study.info.name!r} need the checkpoints of trials {', '.join(gone)}, now gone: "
            f"mix anew: `drft-study soup {study.info.name}`"
        )
