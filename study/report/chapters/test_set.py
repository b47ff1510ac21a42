"""The held-out test set: closed until the study is confirmed on it."""

import shlex
from collections.abc import Iterator

from study.analysis import Estimate, Statistics, Withheld
from study.analysis.confirmation import Confirmed, ConfirmedAdvantage, ConfirmedScore, Difference
from study.analysis.ensembles_on_test import EnsembleOnTest, EnsemblesOnTest
from study.analysis.promise_on_test import POWER, ModelOnTest, PromiseCheck, PromiseOnTest
from study.analysis.sweep_on_test import SweepOnTest
from study.report import figures
from study.report.chapters.parts import Chapter, Part, Table, Text, make_figure
from study.report.wording import between, kappa, percent, points, without_empty_kappa
from study.results.confirmation_plan import HOLD_OUT
from study.results.progress import counted
from study.results.study_results import StudyResults
from study.results.test_set_openings import openings_of, openings_text

HELD_OUT = (
    "This study has not opened its held-out test set. Search, pruning and the choice of the best epoch used training "
    "and validation images only. The test set is opened once, to confirm the results."
)
HEADINGS = (
    *("configuration", "depth", "seeds", "test accuracy", "test QWK", "validation of the retrainings"),
    *("validation minus test", "validation in the sweep", "sweep minus test"),
)
MODELS = ("model", "depth", "networks", "test accuracy", "test QWK", "recommended minus this, points")
COMPARED = ("configuration", "minus", "seeds", "test accuracy, points", "test QWK")
ENSEMBLES = (
    *("ensemble", "made of", "test accuracy", "test QWK", "NLL"),
    *("accuracy minus best trial", "NLL minus best trial"),
)
_TABLE_CAPTION = (
    "Means over seeds with 95% intervals, accuracies in percent, differences in points. Validation minus test is the "
    "optimism of choosing the epoch; sweep minus test includes the optimism of choosing the trial (winner's curse)."
)
_PAIRS_CAPTION = (
    "Paired by seed, split and image. Each interval is 95% by itself; of many, some exclude zero by chance."
)
_MODELS_CAPTION = (
    "Accuracies in percent, with 95% intervals. Differences are paired by image. The models were fixed before the test "
    "set was opened; an ensemble predicts the mean of its networks, each with the weights of its best epoch."
)
SEEN_EASILY = 0.1
"""A shortfall that test images should be able to show; where they cannot, the text says so."""

_ENSEMBLES_CAPTION = (
    "Weights or probabilities of the sweep's best trials, combined without training (drft-study soup) as chosen on "
    "validation images. Differences are paired by image with the best trial; each 95% interval is by itself."
)


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show the scores on the test set, or state that it has not been opened."""
    test, promise = statistics.test, statistics.promise_on_test
    parts: list[Part] = []
    if isinstance(promise, Withheld):
        parts.append(Text(f"Not shown: {promise.reason}."))
    elif promise is not None:
        parts += _promise(promise)
    if test is None and promise is None and not results.info.split["n_test"]:
        parts.append(Text(f"There are no test images, so nothing can be confirmed: {HOLD_OUT}."))
    elif test is None and promise is None:
        command = shlex.join(["drft-study", "confirm", *results.info.arguments()])
        parts.append(Text(f"{HELD_OUT} The command is: {command}.{_seen(results)}"))
    elif isinstance(test, Withheld):
        parts.append(Text(f"Not shown: {test.reason}."))
    elif test is not None:
        parts += _opened(test, results)
        if (sweep := statistics.swept) is not None:
            title = "The trials of the sweep on the test images"
            parts.append(make_figure("swept", title, sweep, figures.validation_against_test, sweep_text))
        parts += _ensembles(statistics.mixtures)
    return Chapter("test", "Test set", "The test set", parts)


def _seen(results: StudyResults) -> str:
    """Return which other studies opened these test images, as a sentence; empty if none did."""
    openings = openings_of(results)
    return f" Its images were {openings_text(openings)}, though." if openings else ""


def promise_text(check: PromiseCheck) -> str:
    """Return whether the promise was kept, in one sentence."""
    promised, measured = check.promised, check.measured
    outcome = {"kept": "was kept", "not kept": "was not kept", "not decidable": "cannot be checked"}[check.outcome]
    images = "image" if measured.n == 1 else "images"
    return (
        f"The promise {outcome}: promised {percent(promised.value)} ({between(Estimate(*promised))}), measured "
        f"{percent(measured.value)} on {measured.n} test {images} (95% interval {between(measured)})."
    )


def power_text(check: PromiseCheck) -> str:
    """Return what so many test images can show; empty if they show a shortfall of ten points, or one was found."""
    if check.detectable is None:
        return "So few test images cannot show that a promise was broken: even if no prediction is right."
    if check.outcome == "not kept" or check.detectable <= SEEN_EASILY:
        return ""
    return (
        f"So few test images can easily miss a shortfall of {100 * SEEN_EASILY:.0f} points: one of "
        f"{points(check.detectable)} is found with a probability of {POWER:.0%}."
    )


def survival_text(survival: ConfirmedAdvantage | Withheld) -> str:
    """Return how much of the lead that the sweep promised remains on the test images."""
    if isinstance(survival, Withheld):
        return f"The lead of the sweep's best trial on the test set is not shown: {survival.reason}."
    lead = (
        f"The sweep promised {points(survival.promised.value)} for {survival.winner} over the baseline; "
        f"the test set shows {points(survival.found.value)} ({between(survival.found)})"
    )
    if isinstance(survival.share, Withheld):
        return f"{lead}. No share of it is given: {survival.share.reason}."
    return f"{lead}: {percent(survival.share.value)} of the promise ({between(survival.share)})."


def _promise(promise: PromiseOnTest) -> Iterator[Part]:
    """Yield whether the promise was kept, and the scores of the three models."""
    check = promise.check
    kept = (
        f"A test accuracy of {percent(check.least)} or more keeps the promise: a lower one has a probability of at "
        "most 2.5% if the promise holds, by the uncertainty of the promise and of the test images together."
    )
    opened = f"The test set was opened once, on {promise.opened[:10]}."
    yield Text(" ".join(filter(None, [promise_text(check), power_text(check), kept, opened])))
    yield Table(
        "The promise on the test set",
        _MODELS_CAPTION,
        *without_empty_kappa(MODELS, list(map(_model_row, promise.models))),
    )
    for name, reason in promise.missing.items():
        yield Text(f"Not scored: {name}, {reason}.")


def _model_row(model: ModelOnTest) -> tuple[str, ...]:
    return (
        model.name,
        "" if model.depth is None else str(model.depth),
        str(model.members or ""),
        between(model.accuracy, value=True),
        kappa(model.qwk),
        between(model.difference.difference, value=True) if model.difference else "",
    )


def _opened(test: Confirmed, results: StudyResults) -> Iterator[Part]:
    folds = results.info.split.get("folds")
    per_fold = f"Each retraining is {folds} trainings, one per fold. " if folds else ""
    yield Text(
        f"The best trials of the sweep and the base configuration were trained again on {test.n_draws} new seeds, "
        "each with a new split, the same for all. Then the test images were opened, once. "
        f"{per_fold}{survival_text(test.survival)}"
    )
    yield make_figure("test", "The best trials, trained again", test, figures.test_scores, _caption)
    yield Table(
        "Configurations on the test set", _TABLE_CAPTION, *without_empty_kappa(HEADINGS, list(map(_row, test.scores)))
    )
    if test.differences:
        rows = [_difference_row(difference) for difference in test.differences]
        yield Table("Differences on the test set", _PAIRS_CAPTION, *without_empty_kappa(COMPARED, rows))


def _ensembles(ensembles: EnsemblesOnTest | Withheld | None) -> Iterator[Part]:
    """Yield the test scores of ensembles of the sweep's best trials."""
    if isinstance(ensembles, Withheld):
        yield Text(f"Ensembles of the best trials are not shown: {ensembles.reason}.")
    elif ensembles is not None:
        rows = [_ensemble_row(score) for score in ensembles.scores]
        caption = f"{_ENSEMBLES_CAPTION} {ensembles.n_images} test images."
        yield Table("Ensembles of the best trials on the test set", caption, *without_empty_kappa(ENSEMBLES, rows))


def _ensemble_row(score: EnsembleOnTest) -> tuple[str, ...]:
    made_of = " + ".join(map(str, score.trials)) + ("" if score.alpha is None else f", alpha {score.alpha:g}")
    return (
        score.name,
        made_of,
        between(score.accuracy, value=True),
        kappa(score.qwk),
        between(score.nll, 1, value=True),
        between(score.difference.difference, value=True) if score.difference else "",
        between(score.nll_difference, 1, value=True) if score.nll_difference else "",
    )


def sweep_text(sweep: SweepOnTest) -> str:
    """Return how optimistic the selection was, and whether validation ranked the trials as the test set does."""
    curse = sweep.curse
    text = (
        "Each point is a completed trial of the sweep at the epoch that validation selected; the largest is the "
        f"selected one, trial {sweep.winner}, with {percent(curse.validation.value)} on validation. It scores "
        f"{percent(curse.test.value)} on the {sweep.n_images} test images (95% interval {between(curse.test)}): "
        f"{points(curse.difference.value)} less ({between(curse.difference)}; winner's curse, and any difference "
        "between the two sets). "
    )
    if isinstance(sweep.agreement, Withheld):
        text += f"The agreement of the ranks is not shown: {sweep.agreement.reason}."
    else:
        text += f"Kendall's tau of validation and test over the trials is {between(sweep.agreement, 1, value=True)}."
    if not isinstance(sweep.overtuning, Withheld):
        lost = sweep.overtuning.overtuning
        text += f" The last best trial scores {points(lost.value)} less on the test set than the best of the earlier "
        text += f"best trials ({between(lost)}; overtuning)."
    return text


def _caption(test: Confirmed) -> str:
    diverged = sum(score.diverged for score in test.scores)
    left_out = f" Left out: {counted(diverged, 'training')} that diverged." if diverged else ""
    return (
        f"Accuracy on the {test.n_images} test images, mean over {test.n_draws} seeds, each training at its own "
        "best validation epoch. The interval covers the randomness of seeds and splits and that of the images (a "
        "two-way layout with random effects). It holds for new seeds and new images like these, not for another "
        f"clinic or other training images.{left_out}"
    )


def _row(score: ConfirmedScore) -> tuple[str, ...]:
    sweep = ("", "")
    if score.sweep is not None and score.fall is not None:
        sweep = (between(score.sweep, value=True), between(score.fall, value=True))
    return (
        score.name,
        str(score.depth),
        str(score.n_draws),
        between(score.accuracy, value=True),
        kappa(score.qwk),
        between(score.validation, value=True),
        between(score.drop, value=True),
        *sweep,
    )


def _difference_row(difference: Difference) -> tuple[str, ...]:
    return (
        difference.one,
        difference.other,
        str(difference.n_draws),
        between(difference.accuracy, value=True),
        kappa(difference.qwk),
    )
