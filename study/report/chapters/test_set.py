"""The test set: sealed until the best configurations are confirmed on it."""

from collections.abc import Iterator, Mapping

import plotly.graph_objects as go

from study.analysis import (
    Confirmed,
    ConfirmedScore,
    Difference,
    EnsembleOnTest,
    EnsemblesOnTest,
    Statistics,
    Survival,
    SweepOnTest,
    Withheld,
)
from study.report import figures
from study.report.chapters.parts import Chapter, Figure, Part, Table, Text, exhibit, wide
from study.report.wording import between, percent, points
from study.results.study_results import StudyResults

SEALED = (
    "The test images have not been looked at. Search, pruning and the choice of the best epoch used training and "
    "validation images only; the test set stays sealed until the best configurations are confirmed on it, once."
)
HEADINGS = (
    *("configuration", "depth", "seeds", "test accuracy", "test QWK", "validation of the retrainings"),
    *("validation minus test", "validation in the sweep", "sweep minus test"),
)
COMPARED = ("configuration", "minus", "seeds", "test accuracy, points", "test QWK")


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Say that the test set is sealed, or what it shows."""
    test = statistics.test
    if test is None:
        parts: tuple[Part, ...] = (Text(f"{SEALED} The command is: drft-study confirm {results.info.name}."),)
    elif isinstance(test, Withheld):
        parts = (Text(f"Not shown: {test.reason}."),)
    else:
        parts = (*_opened(test, results), *_of_the_sweep(statistics.swept), *_of_mixtures(statistics.mixtures))
    return Chapter("test", "Test set", "The test set", parts)


def survival_text(survival: Survival | Withheld) -> str:
    """Say how much of what the sweep promised is there on the test images."""
    if isinstance(survival, Withheld):
        return f"How much of the sweep's advantage survived is not said: {survival.reason}."
    lead = (
        f"The sweep promised {points(survival.promised.value)} for {survival.winner} over the baseline; "
        f"the test set shows {points(survival.found.value)} ({between(survival.found)})"
    )
    if isinstance(survival.share, Withheld):
        return f"{lead}. No share of it is given, since {survival.share.reason}."
    return f"{lead}: {percent(survival.share.value)} of the promise ({between(survival.share)})."


def _opened(test: Confirmed, results: StudyResults) -> Iterator[Part]:
    folds = results.info.split.get("folds")
    by_turns = f"Each of these is {folds} trainings, one for each fold, which grade the images by turns. "
    yield Text(
        f"The best trials of the sweep and the base configuration were trained again on {test.n_draws} fresh seeds, "
        "each with a fresh split, the same ones for all; then the test images were opened, once. "
        f"{by_turns if folds else ''}{survival_text(test.survival)}"
    )
    yield Figure("test", "The best trials, trained again", _caption(test), _drawn(test))
    yield Table("Configurations on the test set", _TABLE_CAPTION, HEADINGS, [_row(score) for score in test.scores])
    if test.differences:
        rows = [_compared(one) for one in test.differences]
        yield Table("Differences on the test set", _PAIRS_CAPTION, COMPARED, rows)


_TABLE_CAPTION = (
    "Means over seeds with 95% intervals, accuracies in percent, differences in points. Validation minus test is what "
    "choosing the epoch flatters; sweep minus test also what choosing the trial flatters (winner's curse)."
)
MIXTURES = (
    "mixture",
    "made of",
    "test accuracy",
    "test QWK",
    "NLL",
    "accuracy minus best trial",
    "NLL minus best trial",
)
_MIXTURES_CAPTION = (
    "Weights or probabilities of the sweep's best trials put together without training (drft-study soup), as chosen on "
    "validation images; paired by image with the best trial, 95% intervals, each by itself."
)
_PAIRS_CAPTION = (
    "Paired by seed, split and image. Each interval is 95% by itself; of many, some leave zero out by chance."
)


def _of_the_sweep(told: SweepOnTest | Withheld | None) -> Iterator[Part]:
    """Show what the sweep's own trials score on the images that are open now."""
    if told is not None:
        title = "The trials of the sweep on the test images"
        yield exhibit("swept", title, told, lambda swept: wide(figures.validation_against_test(swept)), swept_text)


def _of_mixtures(told: EnsemblesOnTest | Withheld | None) -> Iterator[Part]:
    """Show what mixtures of the sweep's best trials score there."""
    if isinstance(told, Withheld):
        yield Text(f"Mixtures of the best trials are not shown: {told.reason}.")
    elif told is not None:
        rows = [_mixture(score) for score in told.scores]
        caption = f"{_MIXTURES_CAPTION} {told.n_images} test images."
        yield Table("Mixtures of the best trials on the test set", caption, MIXTURES, rows)


def _mixture(score: EnsembleOnTest) -> tuple[str, ...]:
    made_of = " + ".join(map(str, score.trials)) + ("" if score.alpha is None else f", alpha {score.alpha:g}")
    return (
        score.name,
        made_of,
        between(score.accuracy, value=True),
        between(score.qwk, 1, value=True),
        between(score.nll, 1, value=True),
        between(score.difference.difference, value=True) if score.difference else "",
        between(score.nll_difference, 1, value=True) if score.nll_difference else "",
    )


def swept_text(told: SweepOnTest) -> str:
    """Say what selection flattered, and whether validation ranked the trials as the test does."""
    curse, n = told.curse, told.n_images
    text = (
        "Each point is a completed trial of the sweep at the step that validation chose; the largest is the selected "
        f"one, trial {told.winner}, "
        f"{percent(curse.validation.value)} on validation: it scores {percent(curse.test.value)} on the {n} test "
        f"images (95% interval {between(curse.test)}): {points(curse.difference.value)} less "
        f"({between(curse.difference)}; winner's curse, and whatever the two sets differ in). "
    )
    if isinstance(told.agreement, Withheld):
        text += f"Whether the ranks agree is not said: {told.agreement.reason}."
    else:
        text += f"Kendall's tau of validation and test over the trials is {between(told.agreement, 1, value=True)}."
    if not isinstance(told.overtuning, Withheld):
        lost = told.overtuning.overtuning
        text += f" The last best trial scores {points(lost.value)} less there than the best of the earlier ones "
        text += f"({between(lost)}; overtuning)."
    return text


def _drawn(test: Confirmed) -> Mapping[str, go.Figure]:
    return wide(figures.test_scores(test))


def _caption(test: Confirmed) -> str:
    lost = sum(score.diverged for score in test.scores)
    diverged = f" {lost} trainings diverged and are left out." if lost else ""
    return (
        f"Accuracy on the {test.n_images} test images, mean over {test.n_draws} seeds, each training at its own "
        "best validation epoch. Its interval takes in the chance of seeds and splits and that of the images (a "
        "two-way layout with random effects). It speaks of new seeds and new images like these, not of another "
        f"clinic or another pool of training images.{diverged}"
    )


def _row(score: ConfirmedScore) -> tuple[str, ...]:
    chosen = ("", "")
    if score.sweep is not None and score.fall is not None:
        chosen = (between(score.sweep, value=True), between(score.fall, value=True))
    return (
        score.name,
        str(score.depth),
        str(score.n_draws),
        between(score.accuracy, value=True),
        between(score.qwk, 1, value=True),
        between(score.validation, value=True),
        between(score.drop, value=True),
        *chosen,
    )


def _compared(one: Difference) -> tuple[str, ...]:
    figures_of = (between(one.accuracy, value=True), between(one.qwk, 1, value=True))
    return (one.one, one.other, str(one.n_draws), *figures_of)
