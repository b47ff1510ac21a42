"""Predict the test images with the soups and ensembles of a study (``drft-study soup``), once."""

import json

import numpy as np

from drft.data import Progress
from drft.errors import StudyError
from drft.training.records import Predictions
from study.results.open_dataset import data_source, reopen_dataset
from study.results.predictions_file import reading
from study.results.study_results import StudyResults
from study.results.test_set import (
    HeldOutTestSet,
    ensemble_predictions_file,
    read_confirmation,
    write_ensemble_predictions,
)
from study.setup.options import RunOptions


def predict_test_images(study: StudyResults, options: RunOptions, data: str | None, progress: Progress) -> bool:
    """Store the test predictions of a study's soups and ensembles, if there are any without predictions.

    Args:
        study: the study; its confirmation must be finished.
        options: ``data_options`` override the recorded options of the data source.
        data: where the images of the study are now; None for the recorded source.
        progress: called while images are read.

    Returns:
        Whether predictions were stored.

    Raises:
        StudyError: when the confirmation is not finished, or a checkpoint is missing.
        DataError: when the images cannot be read, or are not those of the study.
    """
    report = study.info.folder / "soup" / "soup.json"
    if not report.is_file() or ensemble_predictions_file(study.location).exists():
        return False
    HeldOutTestSet(study, read_confirmation(study))  # checks that the confirmation is finished
    try:
        with reading(report):
            recipes = [scored["recipe"] for scored in json.loads(report.read_text(encoding="utf-8"))["judged"]]
    except StudyError as error:
        raise StudyError(f"{error}: run `drft-study soup {study.info.name}` again") from None
    # The first recipe is the best trial; the evaluator takes backbone, image size and split from the first trial.
    trials = list(dict.fromkeys(trial for recipe in recipes for trial in recipe["trials"]))
    missing = [str(trial) for trial in trials if not study.checkpoint_file(trial).is_file()]
    if missing:
        name = study.info.name
        raise StudyError(
            f"the soups and ensembles of study {name!r} need the checkpoints of trials {', '.join(missing)}, which are "
            f"missing: run `drft-study soup {name}` again"
        )
    # Imported here, since torch takes seconds to import.
    from study.soup.evaluator import Evaluator  # noqa: PLC0415
    from study.soup.ingredients import read_ingredients  # noqa: PLC0415
    from study.soup.selection import EnsembleRecipe  # noqa: PLC0415

    source, source_options = data_source(study.info, data, options.data_options)
    dataset = reopen_dataset(study.info, source, source_options, progress)
    evaluator = Evaluator(dataset, read_ingredients(study, trials))
    probabilities = [
        evaluator.probabilities(EnsembleRecipe(**recipe | {"trials": tuple(recipe["trials"])}), "test")
        for recipe in recipes
    ]
    predictions = Predictions(
        tuple(evaluator.ids("test")), evaluator.grades("test"), np.array(probabilities, dtype=np.float16)
    )
    write_ensemble_predictions(study, recipes, predictions)
    return True
