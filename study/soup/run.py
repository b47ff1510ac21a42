"""Combine the best trials of a study and write ``results/STUDY/soup/``."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from drft.data import Progress
from drft.errors import StudyError
from drft.models.checkpoint import save_checkpoint
from study.analysis.estimators.grading import NOT_ORDERED
from study.callbacks.progress_reporter import preparation
from study.results.files import whole_folder
from study.results.open_dataset import data_source, reopen_dataset
from study.results.study_folder import CHECKPOINT
from study.results.study_results import StudyInfo, read_study
from study.results.test_set import ensemble_predictions_file
from study.soup.evaluator import Evaluator, accuracy_by_alpha, predict_candidates
from study.soup.ingredients import Ingredient, LeftOut, find_ingredients
from study.soup.report import JSON, MARKDOWN, SoupReport, json_text, markdown_text
from study.soup.scores import EnsemblePredictions, cross_fitted_gains, score_ensembles
from study.soup.selection import EnsembleRecipe, choose_recipes

FOLDER = "soup"


def make_soups(
    study: str,
    results: Path = Path("results"),
    storage: str | None = None,
    *,
    top: int = 5,
    data: str | None = None,
    data_options: Mapping[str, str] | None = None,
    console: Console | None = None,
) -> tuple[SoupReport, Path]:
    """Combine the best trials of a study, score the result on validation, and write ``results/STUDY/soup/``.

    Args:
        study: a name under ``results``, the path of a study folder or, with ``storage``, a name there.
        results: folder of studies.
        storage: URL of the Optuna storage; None for the ``study.db`` of the study's folder.
        top: number of best trials, at least 2.
        data: where the images of the study are now; None for the recorded source.
        data_options: options of the data source that override the recorded ones.
        console: for the progress; None for none.

    Returns:
        The report, and the folder.

    Raises:
        UsageError: when something cannot be used; nothing is written.
    """
    read = read_study(study, results, storage)
    info, out = read.info, read.info.folder / FOLDER
    if ensemble_predictions_file(read.location).exists():
        raise StudyError(
            f"the soups and ensembles of study {info.name!r} were already scored on the test images, which is done "
            f"once: they stay unchanged in {out}"
        )
    ingredients, left_out = find_ingredients(read, top)
    source, options = data_source(info, data, data_options or {})
    with preparation(console or Console(quiet=True)) as progress:
        evaluator = Evaluator(reopen_dataset(info, source, options, progress), ingredients)
        report, chosen = _combine(info, evaluator, ingredients, left_out, progress)
    config = next(trial.config for trial in ingredients if trial.trial == chosen.trials[0])  # of the best trial in it
    with whole_folder(out, "choose another folder with --results", replace=True) as draft:
        (draft / JSON).write_text(json_text(report), encoding="utf-8")
        (draft / MARKDOWN).write_text(markdown_text(report), encoding="utf-8")
        tensors = evaluator.checkpoint_tensors(chosen)
        save_checkpoint(draft / CHECKPOINT, tensors, config, evaluator.classes, info.classes)
    return report, out


def _combine(
    info: StudyInfo,
    evaluator: Evaluator,
    ingredients: Sequence[Ingredient],
    left_out: Sequence[LeftOut],
    progress: Progress,
) -> tuple[SoupReport, EnsembleRecipe]:
    """Return the report, and the recipe of the weights to store."""
    trials = tuple(ingredient.trial for ingredient in ingredients)
    candidates = predict_candidates(evaluator, trials, info.metric, progress)
    scores = choose_recipes(candidates)
    predictions = [
        EnsemblePredictions(evaluator.probabilities(recipe, "train"), evaluator.probabilities(recipe, "validation"))
        for recipe in scores
    ]
    grades = evaluator.grades("train"), evaluator.grades("validation")
    # The best one that is a single network; rounded, so that ties go to the simplest, which comes first.
    networks = [recipe for recipe in scores if recipe.kind == "weights"]
    chosen = max(networks, key=lambda recipe: round(scores[recipe], 6))
    judged = score_ensembles(list(scores), predictions, grades, cross_fitted_gains(candidates))
    report = SoupReport(
        study=info.name,
        metric=info.metric,
        trials=trials,
        left_out=tuple(left_out),
        judged=judged if info.ordinal else tuple(scored._replace(qwk=NOT_ORDERED) for scored in judged),
        alphas=accuracy_by_alpha(evaluator, trials[0]),
        chosen=chosen.name,
        folds=info.split.get("folds"),
    )
    return report, chosen
