"""Run a confirmation: check the promise, or plan and retrain; and score the held-out test set once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from filelock import FileLock, Timeout
from rich.console import Console

from drft.errors import StudyError
from study.analysis.promise_on_test import promise_on_test
from study.analysis.summary import score_ensembles, score_test_set
from study.callbacks.progress_reporter import preparation
from study.confirm.ensembles import predict_test_images
from study.confirm.prepare import plan_confirmation, prepare, retraining_options
from study.confirm.promise import open_test_set
from study.confirm.verdict import configuration_lines, ensemble_lines, promise_lines, write_summary
from study.report.disclaimer import DISCLAIMER
from study.results.confirmation_plan import ConfirmationPlan
from study.results.study_results import StudyInfo, StudyResults, read_study
from study.results.test_set import (
    SUMMARY,
    confirmation_location,
    read_confirmation,
    read_opened_test_set,
    write_opened_test_set,
)
from study.results.test_set_openings import openings_of, openings_text, record_opening
from study.run_trials import print_lines, run_trials
from study.setup.options import RunOptions
from study.setup.placement import choose_executor
from study.setup.plan import StudyPlan
from study.tuner.runtime_estimate import expected_seconds, past_trainings
from study.tuner.stopping import RunOutcome

_RETRAINED = 5
"""Trials and seeds of a confirmation, unless the caller gives other numbers."""


def confirm_study(
    study: str,
    options: RunOptions = RunOptions(),  # noqa: B008 (frozen)
    *,
    top: int | None = None,
    seeds: int | None = None,
    data: str | None = None,
    console: Console | None = None,
) -> RunOutcome | None:
    """Open the held-out test set of a study, once.

    Of a study with the goal depth, check whether its promise was kept: score the recommended model, the untuned
    configuration and the floor, without further training. Of any other study, or if ``top`` or ``seeds`` is given,
    retrain the best trials and the base configuration, and score them. An interrupted confirmation is resumed; a
    finished one is not changed.

    Args:
        study: a name under ``options.results``, the path of a study folder or, with ``options.storage``, a name there.
        options: where trainings run, when they stop, and options of the data; options of the search are ignored.
        top: number of best completed trials to retrain; 5 if only ``seeds`` is given.
        seeds: number of seeds, each with its own split; every configuration is trained on all of them. Likewise 5.
        data: where the images of the study are now; None for the recorded source.
        console: for the progress; None for none.

    Returns:
        The outcome; ``failing`` if some trainings failed and all others are done. None if nothing was left to train.

    Raises:
        UsageError: when something cannot be used; nothing is written.
    """
    console = console or Console(quiet=True)
    results = read_study(study, options.results, options.storage)
    if results.info.goal == "depth" and top is None and seeds is None:
        _check_promise(study, results, options, data, console)
        return None
    top, seeds = (_RETRAINED if number is None else number for number in (top, seeds))
    if min(top, seeds) < 1:
        raise StudyError(f"top and seeds must be at least 1, not {top} and {seeds}")
    confirmation = read_confirmation(results)
    plan = plan_confirmation(results, confirmation, top, seeds)
    if confirmation is not None and confirmation.finished:
        print_lines(console, [f"Study {results.info.name} is already confirmed; no training is repeated."])
        _conclude(study, results, options, data, console, is_new=False)
        return None
    options = retraining_options(results.info, plan, options, data)
    with preparation(console) as progress:
        study_plan = prepare(results, plan, options, progress)
    with _locked(results):
        outcome = _retrain(results, study_plan, options, console)
    confirmation = read_confirmation(results)
    assert confirmation is not None
    diverged = f", {len(confirmation.diverged)} diverged" if confirmation.diverged else ""
    print_lines(console, ["", f"{len(confirmation.done)} of {plan.size} retrainings finished{diverged}."])
    if not confirmation.finished:
        reason = f" ({outcome.reason})" if outcome.reason else ""
        lines = [f"The test predictions have not been read{reason}. To resume: {options.command}", DISCLAIMER]
        print_lines(console, lines)
        return replace(outcome, ended="failing") if outcome.ended == "done" else outcome
    record_opening(results.location, results.info.dataset)
    _conclude(study, results, options, data, console, is_new=True)
    return outcome


def _check_promise(name: str, study: StudyResults, options: RunOptions, data: str | None, console: Console) -> None:
    """Open the test set of a study with the goal depth unless it is open; print what it shows."""
    opened = read_opened_test_set(study)
    is_new = opened is None
    if opened is None:
        # Without a terminal, work is shown as lines that stay; the first line is to say whether the promise was kept.
        with preparation(console if console.is_terminal else Console(quiet=True)) as progress:
            computed = open_test_set(study, options, data, progress)
        with _locked(study):
            opened = read_opened_test_set(study)  # another process may have been faster
            if opened is None:
                # Where the file was lost, the test set is not opened for the first time now.
                opened = computed._replace(opened=record_opening(study.location, study.info.dataset).opened)
                write_opened_test_set(study, opened)
    print_lines(
        console, [*promise_lines(promise_on_test(opened, ordinal=study.info.ordinal)), *_opened_by_others(study)]
    )
    _write_figures(name, study, options, console, is_new=is_new)


def _retrain(
    study: StudyResults, plan: StudyPlan[ConfirmationPlan], options: RunOptions, console: Console
) -> RunOutcome:
    confirmation = read_confirmation(study)  # again: another process may have continued it before the lock was ours
    past = past_trainings(study.location.open().get_trials(deepcopy=False))
    taken = confirmation.taken if confirmation else frozenset()
    queue = sorted(  # the longest first, so that all slots finish at about the same time
        plan.space.queue([index for index in range(plan.space.size) if index not in taken]),
        key=lambda attributes: -expected_seconds(plan.space.config(attributes["place"]), past),
    )
    with choose_executor(plan, options) as choice:
        print_lines(console, _opening_lines(study.info, plan, choice.description))
        return run_trials(plan, options, choice, console, queue)


def _opening_lines(info: StudyInfo, plan: StudyPlan[ConfirmationPlan], executor: str) -> list[str]:
    names = ", ".join(candidate.name for candidate in plan.space.candidates)
    trials = f"{plan.space.size} wanted, each of these on {plan.space.seeds} new seeds and splits"
    if "folds" in info.split:
        trials += f", in {info.split['folds']} folds each"
    return [
        f"Confirmation of study {info.name} in {plan.folder}",
        f"  data      {plan.dataset.name}: {plan.metadata.split['n_test']} test images, held out until the end",
        f"  retrains  {names}",
        f"  trials    {trials}; {executor}",
    ]


def _conclude(
    name: str, study: StudyResults, options: RunOptions, data: str | None, console: Console, *, is_new: bool
) -> None:
    """Print the test scores of the retrained trials, and write summary and report."""
    with preparation(console) as progress:
        is_new |= predict_test_images(study, options, data, progress)
    scores = score_test_set(study)
    assert scores is not None
    print_lines(
        console, [*configuration_lines(scores), *ensemble_lines(score_ensembles(study)), *_opened_by_others(study)]
    )
    _write_figures(name, study, options, console, is_new=is_new)


def _opened_by_others(study: StudyResults) -> list[str]:
    """Return a line that names other studies which opened the same test images; no line if there are none."""
    openings = openings_of(study)
    others = [opening for opening in openings if opening.study != study.info.name]
    if not others:
        return []
    return [f"These test images were also {openings_text(others)}: later choices are not tested on unseen images."]


def _write_figures(name: str, study: StudyResults, options: RunOptions, console: Console, *, is_new: bool) -> None:
    """Write summary and report if the scores are new or there is no summary, and print where they are."""
    summary = confirmation_location(study.location).folder / SUMMARY
    is_new |= not summary.exists()
    if is_new:
        write_summary(study)
    print_lines(console, [f"Figures: {summary}"])
    if is_new and options.report:
        from study.report.write import write_report  # noqa: PLC0415 (plotly takes seconds to import)

        print_lines(console, [f"Report: {write_report(name, options.results, options.storage)}"])
    print_lines(console, [DISCLAIMER])


@contextmanager
def _locked(study: StudyResults) -> Iterator[None]:
    """Keep other processes from confirming the study at the same time: they would queue the same trainings.

    Raises:
        StudyError: when another process confirms it.
    """
    path = confirmation_location(study.location).folder / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path).acquire(timeout=0)
    except Timeout:
        raise StudyError(
            f"study {study.info.name!r} is being confirmed by another process: wait until it has finished, or stop it"
        ) from None
    with lock:
        yield
