"""The test scores of a confirmation: ``confirm/summary.json`` and lines for the terminal."""

import json
from typing import Any

from study.analysis import Withheld
from study.analysis.confirmation import Confirmed, ConfirmedScore
from study.analysis.ensembles_on_test import EnsembleOnTest, EnsemblesOnTest
from study.analysis.promise_on_test import ModelOnTest, PromiseOnTest
from study.analysis.summary import score_ensembles, score_promise, score_test_set
from study.report.chapters.test_set import power_text, promise_text, survival_text
from study.report.json_csv import plain
from study.report.wording import between, percent, points, with_kappa
from study.results.files import write_whole
from study.results.study_results import StudyResults
from study.results.test_set import SUMMARY, confirmation_location, read_confirmation

SCHEMA = 1


def write_summary(study: StudyResults) -> None:
    """Write ``confirm/summary.json`` of a study whose test set was opened.

    It holds ``schema`` (1), ``study``, ``promise`` (the models of a study with the goal depth, or null), ``plan`` (what
    was retrained, or null), ``diverged`` (indices of trainings), ``test`` (the retrained trials, or null) and
    ``mixtures`` (the soups and ensembles, or null). Every figure is an object of its fields, as in the report's
    ``summary.json``.

    Raises:
        StudyError: when the file cannot be written.
    """
    confirmation = read_confirmation(study)
    finished = confirmation if confirmation and confirmation.finished else None
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "study": study.info.name,
        "promise": plain(score_promise(study)),
        "plan": finished and finished.plan.to_dict(),
        "diverged": sorted(finished.diverged) if finished else [],
        "test": plain(score_test_set(study)),
        "mixtures": plain(score_ensembles(study)),
    }
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_whole(confirmation_location(study.location).folder / SUMMARY, text)


def promise_lines(scores: PromiseOnTest) -> list[str]:
    """Return whether the promise was kept, and the scores of all models, as lines for the terminal."""
    power = power_text(scores.check)
    return [
        promise_text(scores.check),
        *([f"  {power}"] if power else []),
        *(_model_line(model) for model in scores.models),
        *(f"  {name}: not scored, {reason}" for name, reason in scores.missing.items()),
        f"The test set was opened once, on {scores.opened[:10]}.",
    ]


def configuration_lines(scores: Confirmed | Withheld) -> list[str]:
    """Return the scores of the retrained configurations on the test images, as lines for the terminal."""
    if isinstance(scores, Withheld):
        return [f"The test scores are withheld: {scores.reason}."]
    baseline = scores.scores[0]
    return [
        f"Held-out test set: {scores.n_images} images, {scores.n_draws} new seeds and splits.",
        *(_configuration_line(score) for score in scores.scores),
        *(
            with_kappa(
                f"{difference.one} minus {difference.other} on the test set: {points(difference.accuracy.value)} "
                f"({between(difference.accuracy)})",
                difference.qwk,
            )
            + "."
            for difference in scores.differences
            if difference.other == baseline.name
        ),
        survival_text(scores.survival),
    ]


def ensemble_lines(scores: EnsemblesOnTest | Withheld | None) -> list[str]:
    """Return the scores of soups and ensembles on the test images, as lines for the terminal."""
    if scores is None:
        return []
    if isinstance(scores, Withheld):
        return [f"The test scores of ensembles and soups are withheld: {scores.reason}."]
    lines = [_ensemble_line(score) for score in scores.scores]
    return [f"Ensembles and soups of the best trials, on {scores.n_images} test images:", *lines]


def _model_line(model: ModelOnTest) -> str:
    of = f" (depth {model.depth}, ensemble of {model.members})" if model.members else " on frozen features"
    line = with_kappa(
        f"  {model.name}{of}: test {percent(model.accuracy.value)} ({between(model.accuracy)})", model.qwk
    )
    if model.difference is not None:
        difference = model.difference.difference
        line += f"; recommended minus {model.name} {points(difference.value)} ({between(difference)})"
    return line


def _configuration_line(score: ConfirmedScore) -> str:
    search = "" if score.sweep is None else f", {percent(score.sweep.value)} in the search"
    diverged = f", {score.diverged} diverged" if score.diverged else ""
    test = with_kappa(f"test {percent(score.accuracy.value)} ({between(score.accuracy)})", score.qwk)
    return (
        f"  {score.name} (depth {score.depth}): {test}; validation {percent(score.validation.value)}{search}{diverged}"
    )


def _ensemble_line(score: EnsembleOnTest) -> str:
    line = f"  {score.name} ({' + '.join(map(str, score.trials))}): test {percent(score.accuracy.value)}"
    line = with_kappa(f"{line} ({between(score.accuracy)})", score.qwk)
    if score.difference is not None:
        difference = score.difference.difference
        line += f"; minus best trial {points(difference.value)} ({between(difference)})"
    return line
