"""What the opened test images say: figures for the report, ``confirm/summary.json``, and words."""

import json
from typing import Any

from study.analysis import Confirmed, ConfirmedScore, Difference, EnsembleOnTest, EnsemblesOnTest, Withheld
from study.analysis.summary import score_mixtures
from study.report.chapters.test_set import survival_text
from study.report.json_csv import plain
from study.report.wording import between, percent, points
from study.results.files import write_whole
from study.results.study_results import StudyResults
from study.results.test_set import SUMMARY, read_confirmation

SCHEMA = 1


def write_summary(study: StudyResults, found: Confirmed | Withheld) -> None:
    """Write ``confirm/summary.json`` of a study whose confirmation is over.

    It holds ``schema`` (1), ``study``, ``plan`` (what was trained), ``diverged`` (places), ``test`` and ``mixtures``
    (of ``drft-study soup``, or null): every figure, each an object of its fields, as in the report's ``summary.json``.

    Raises:
        StudyError: when the file cannot be written.
    """
    confirmation = read_confirmation(study)
    assert confirmation is not None
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "study": study.info.name,
        "plan": confirmation.plan.to_dict(),
        "diverged": sorted(confirmation.diverged),
        "test": plain(found),
        "mixtures": plain(score_mixtures(study)),
    }
    text = json.dumps(told, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_whole(confirmation.results.info.folder / SUMMARY, text)


def verdict(found: Confirmed | Withheld) -> list[str]:
    """Say what the test images say, in lines for the terminal."""
    if isinstance(found, Withheld):
        return [f"Nothing to say of the test set: {found.reason}."]
    baseline = found.scores[0]
    return [
        f"The test set is open: {found.n_images} images, {found.n_draws} fresh seeds and splits.",
        *(_line(score) for score in found.scores),
        *(_compared(one) for one in found.differences if one.other == baseline.name),
        survival_text(found.survival),
    ]


def mixtures_verdict(found: EnsemblesOnTest | Withheld | None) -> list[str]:
    """Say what the test images say of the mixtures of ``drft-study soup``, in lines for the terminal."""
    if found is None:
        return []
    if isinstance(found, Withheld):
        return [f"Nothing to say of the mixtures: {found.reason}."]
    return [f"Mixtures of the sweep's best trials, on {found.n_images} test images:", *map(_mixture, found.scores)]


def _mixture(score: EnsembleOnTest) -> str:
    said = f"  {score.name} ({' + '.join(map(str, score.trials))}): test {percent(score.accuracy.value)}"
    said += f" ({between(score.accuracy)}), QWK {between(score.qwk, 1, value=True)}"
    if score.difference is None:
        return said
    return (
        f"{said}; minus best trial {points(score.difference.difference.value)} ({between(score.difference.difference)})"
    )


def _line(score: ConfirmedScore) -> str:
    sweep = "" if score.sweep is None else f", {percent(score.sweep.value)} in the sweep"
    lost = f", {score.diverged} diverged" if score.diverged else ""
    test = f"test {percent(score.accuracy.value)} ({between(score.accuracy)}), QWK {between(score.qwk, 1, value=True)}"
    return f"  {score.name} (depth {score.depth}): {test}; validation {percent(score.validation.value)}{sweep}{lost}"


def _compared(one: Difference) -> str:
    accuracy = f"{points(one.accuracy.value)} ({between(one.accuracy)})"
    return f"{one.one} minus {one.other} on the test set: {accuracy}, QWK {between(one.qwk, 1, value=True)}."
