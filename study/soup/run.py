"""From a study to ``results/STUDY/soup/``: which mixtures of its best trials there are, and what they are worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from drft.data import Progress
from drft.errors import StudyError
from drft.models.checkpoint import save_checkpoint
from study.callbacks.progress_reporter import preparation
from study.results.files import whole_folder
from study.results.open_dataset import data_source, reopen_dataset
from study.results.study_folder import CHECKPOINT
from study.results.study_results import StudyResults, read_study
from study.results.test_set import ensemble_predictions_file
from study.soup.candidates import RULES, EnsembleCandidates, EnsembleRecipe, recipes
from study.soup.crossfit import cross_fitted_gains
from study.soup.evaluation import Evaluator
from study.soup.ingredients import Ingredient, LeftOut, find_ingredients
from study.soup.predict import along_alpha, ask_all
from study.soup.report import JSON, MARKDOWN, SoupReport, json_text, markdown_text
from study.soup.score import EnsemblePredictions, judge

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
    """Put the best trials of a study together, judge that on validation, and write ``results/STUDY/soup/``.

    Args:
        study: a name under ``results``, the path of a study folder or, with ``storage``, a name there.
        results: folder of studies.
        storage: URL of the Optuna storage; None for the ``study.db`` of the study's folder.
        top: how many of the best trials, from 2.
        data: where the images of the study are now; None for where they were.
        data_options: options of the data source that are said anew.
        console: where progress is shown; None for nowhere.

    Returns:
        What is said of them, and the folder.

    Raises:
        UsageError: when something cannot be used; nothing is written.
    """
    found = read_study(study, results, storage)
    out = soup_folder(found)
    _check_unopened(found)
    ingredients, left_out = find_ingredients(found, top)
    source, options = data_source(found.info, data, data_options or {})
    with preparation(console or Console(quiet=True)) as tell:
        dataset = reopen_dataset(found.info, source, options, tell)
        evaluator = Evaluator(dataset, ingredients)
        soups = _judged(found, evaluator, ingredients, left_out, tell)
    with whole_folder(out, "choose another folder with --results") as draft:
        (draft / JSON).write_text(json_text(soups), encoding="utf-8")
        (draft / MARKDOWN).write_text(markdown_text(soups), encoding="utf-8")
        _write_chosen(draft / CHECKPOINT, soups, evaluator, ingredients)
    return soups, out


def soup_folder(study: StudyResults) -> Path:
    """Return where the mixtures of a study are, if there are any."""
    return study.info.folder / FOLDER


def _judged(
    study: StudyResults,
    evaluator: Evaluator,
    ingredients: Sequence[Ingredient],
    left_out: Sequence[LeftOut],
    tell: Progress,
) -> SoupReport:
    candidates = ask_all(evaluator, tuple(one.trial for one in ingredients), study.info.metric, tell)
    made = recipes(candidates)
    said = [
        EnsemblePredictions(evaluator.probabilities(recipe, "train"), evaluator.probabilities(recipe, "validation"))
        for recipe in made
    ]
    grades = evaluator.grades("train"), evaluator.grades("validation")
    judged = judge(made, said, grades, cross_fitted_gains(candidates))
    return SoupReport(
        study=study.info.name,
        metric=study.info.metric,
        trials=candidates.trials,
        left_out=tuple(left_out),
        judged=judged,
        alphas=along_alpha(evaluator, candidates.trials[0]),
        chosen=_chosen(candidates, made).name,
        folds=study.info.split.get("folds"),
    )


def _chosen(candidates: EnsembleCandidates, made: Sequence[EnsembleRecipe]) -> EnsembleRecipe:
    """Return the recipe with the highest validation score of those that are one network, the simplest one on ties."""
    scored = candidates.scores(np.ones((1, len(candidates.grades)), dtype=np.float32))
    score = {"best trial": scored.best_trial(), **{name: rule(scored) for name, (rule, _) in RULES.items()}}
    single = [one for one in made if one.kind == "weights"]
    return max(single, key=lambda one: round(float(scored.at(score[one.name])[0]), 6))


def _write_chosen(path: Path, soups: SoupReport, evaluator: Evaluator, ingredients: Sequence[Ingredient]) -> None:
    """Write the weights of the chosen mixture as a checkpoint, with the configuration of its best trial."""
    recipe = next(one.recipe for one in soups.judged if one.recipe.name == soups.chosen)
    config = next(one.config for one in ingredients if one.trial == recipe.trials[0])
    save_checkpoint(path, evaluator.changed(recipe), config, evaluator.classes)


def _check_unopened(study: StudyResults) -> None:
    """Refuse to mix anew what was judged on the test images, which are opened once.

    Raises:
        StudyError: when it was.
    """
    if ensemble_predictions_file(study.location).exists():
        raise StudyError(
            f"the mixtures of study {study.info.name!r} were judged on the test images, which are opened once: "
            f"they stay as they are in {soup_folder(study)}"
        )
