"""From a study to its confirmation: plan, retrain, open the test set once, and say what it shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from filelock import FileLock, Timeout
from rich.console import Console

from drft.data import Progress
from drft.errors import StudyError
from study.analysis.summary import score_mixtures, score_test_set
from study.callbacks.progress_reporter import preparation
from study.confirm.ensembles import are_waiting, open_mixtures
from study.confirm.prepare import PreparedConfirmation, options_for, prepare, undertake
from study.confirm.verdict import mixtures_verdict, verdict, write_summary
from study.report.disclaimer import DISCLAIMER
from study.results.confirmation_plan import ConfirmationPlan
from study.results.study_results import StudyResults, read_study
from study.results.test_set import SUMMARY, confirmation_location, read_confirmation
from study.run import run_trials, say
from study.setup.options import RunOptions
from study.setup.placement import placed
from study.setup.plan import StudyPlan
from study.tuner.runtime_estimate import expected_seconds, ran
from study.tuner.stopping import RunOutcome


def confirm_study(
    study: str,
    options: RunOptions = RunOptions(),  # noqa: B008 (frozen)
    *,
    top: int = 5,
    seeds: int = 5,
    data: str | None = None,
    console: Console | None = None,
) -> RunOutcome | None:
    """Retrain the best trials of a study and its base configuration, then score the sealed test set once.

    Run again after whatever stopped it, it goes on; a confirmation that is over is left as it is.

    Args:
        study: a name under ``options.results``, the path of a study folder or, with ``options.storage``, a name there.
        options: where trainings run, when they stop, and options of the data; what it says of the search is not used.
        top: how many of the best completed trials.
        seeds: how many seeds, each with a split of its own; every configuration is trained on all of them.
        data: where the images of the study are now; None for where they were.
        console: where progress is shown; None for nowhere.

    Returns:
        How it ended, ``failing`` when trainings failed and others are done; None when there was nothing to do.

    Raises:
        UsageError: when something cannot be used; nothing is written.
    """
    console = console or Console(quiet=True)
    if min(top, seeds) < 1:
        raise StudyError(f"top and seeds should be at least 1, not {top} and {seeds}")
    prepared = undertake(read_study(study, options.results, options.storage), top, seeds)
    if prepared.over:
        say(console, [f"Study {prepared.study.info.name} is confirmed already; nothing is trained again."])
        with preparation(console) as tell:
            asked = _ask_mixtures(prepared.study, options, data, tell)
        _conclude(study, prepared.study, options, console, anew=asked)
        return None
    options = options_for(prepared, options, data)
    with preparation(console) as tell:
        plan = prepare(prepared, options, tell)
    with _alone(prepared.study):
        outcome = _retrain(prepared, plan, options, console)
    if not _is_over(prepared, outcome, options, console):
        return replace(outcome, ended="failing") if outcome.ended == "done" else outcome
    with preparation(console) as tell:
        _ask_mixtures(prepared.study, options, data, tell)
    _conclude(study, prepared.study, options, console, anew=True)
    return outcome


def _retrain(
    prepared: PreparedConfirmation, plan: StudyPlan[ConfirmationPlan], options: RunOptions, console: Console
) -> RunOutcome:
    confirmation = read_confirmation(prepared.study)  # another process may have gone on with it meanwhile
    known = ran(prepared.study.location.open().get_trials(deepcopy=False))
    queue = sorted(  # the costliest first, so that slots end together
        plan.space.queue(confirmation.taken if confirmation else ()),
        key=lambda attributes: -expected_seconds(plan.space.config(attributes["place"]), known),
    )
    with placed(plan, options) as placement:
        say(console, _opening_words(prepared, plan, placement.words))
        return run_trials(plan, options, placement, console, queue)


def _opening_words(prepared: PreparedConfirmation, plan: StudyPlan[ConfirmationPlan], where: str) -> list[str]:
    info, planned = prepared.study.info, prepared.plan
    names = ", ".join(candidate.name for candidate in planned.candidates)
    folds = f", in {info.split['folds']} folds each" if "folds" in info.split else ""
    return [
        f"Confirmation of study {info.name} in {plan.folder}",
        f"  data      {plan.dataset.name}: {plan.metadata.split['n_test']} test images, sealed until the end",
        f"  retrains  {names}",
        f"  trials    {planned.size} wanted, each of these on {planned.seeds} fresh seeds and splits{folds}; {where}",
    ]


def _is_over(prepared: PreparedConfirmation, outcome: RunOutcome, options: RunOptions, console: Console) -> bool:
    """Return whether every training is settled, and say so."""
    confirmation = read_confirmation(prepared.study)
    assert confirmation is not None
    done, lost = len(confirmation.done), len(confirmation.diverged)
    diverged = f", {lost} diverged" if lost else ""
    say(console, ["", f"{done} of {prepared.plan.size} retrainings came to their end{diverged}."])
    if not confirmation.finished:
        why = f" ({outcome.reason})" if outcome.reason else ""
        say(console, [f"The test images stay sealed{why}. To go on: {options.command}", DISCLAIMER])
    return confirmation.finished


def _ask_mixtures(study: StudyResults, options: RunOptions, data: str | None, tell: Progress) -> bool:
    """Ask the study's mixtures for the test images, if there are any and they were not; return whether."""
    waiting = are_waiting(study)
    if waiting:
        open_mixtures(study, read_confirmation(study), options, data, tell)
    return waiting


def _conclude(name: str, study: StudyResults, options: RunOptions, console: Console, *, anew: bool) -> None:
    """Say what the test set shows; write summary and report anew, or what is missing of them."""
    found = score_test_set(study)
    assert found is not None
    say(console, [*verdict(found), *mixtures_verdict(score_mixtures(study))])
    summary = confirmation_location(study.location).folder / SUMMARY
    if anew or not summary.exists():
        write_summary(study, found)
        anew = True
    say(console, [f"Figures: {summary}"])
    if anew and options.report:
        from study.report.write import write_report  # noqa: PLC0415 (plotting waits until there is something to plot)

        say(console, [f"Report: {write_report(name, options.results, options.storage)}"])
    say(console, [DISCLAIMER])


@contextmanager
def _alone(study: StudyResults) -> Iterator[None]:
    """Keep other processes from confirming the study at the same time: they would queue the same trainings.

    Raises:
        StudyError: when another one does.
    """
    path = confirmation_location(study.location).folder / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        name = study.info.name
        raise StudyError(f"study {name!r} is being confirmed by another process: wait for it, or end it") from None
    with lock:
        yield
    lock.release()
