"""From options to outcome: prepare, drive, report, and say what came out."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from study.callbacks.logger import LoggedDisplay, check_logger
from study.callbacks.progress_reporter import preparation, progress_reporter
from study.messages import closing_words, opening_words
from study.report.disclaimer import DISCLAIMER
from study.results.study_folder import StudyFolder
from study.results.study_results import read_study
from study.setup.options import RunOptions
from study.setup.placement import ExecutorChoice, placed
from study.setup.plan import StudyPlan, prepare
from study.space import BoundSpace
from study.space.suggester import Suggester
from study.storage.open import close_storage, open_storage
from study.storage.reconnect import Reconnect
from study.tuner.interrupt import Interrupt
from study.tuner.stopping import RunOutcome, StoppingCriterion
from study.tuner.trial_scheduler import TrialScheduler
from study.tuner.tuner import Tuner


def run_study(options: RunOptions = RunOptions(), console: Console | None = None) -> RunOutcome:  # noqa: B008 (frozen)
    """Bring a study to ``options.trials`` finished trials, and write its report.

    A study of that name is gone on with; Ctrl-C stops it so that it can be.

    Args:
        options: what to run.
        console: where progress is shown; None for nowhere.

    Raises:
        UsageError: when the options, the data, the backbone or the storage cannot be used; nothing is written.
    """
    console = console or Console(quiet=True)
    check_logger(options.log)
    with preparation(console) as tell:
        plan = prepare(options, tell)
    outcome = drive(plan, options, console)
    say(
        console,
        closing_words(read_study(plan.metadata.name, options.results, options.storage), outcome, options.command),
    )
    if options.report and outcome.progress.finished and outcome.ended in {"done", "time", "noise"}:
        from study.report.write import write_report  # noqa: PLC0415 (plotting waits until there is something to plot)

        say(console, [f"Report: {write_report(plan.metadata.name, options.results, options.storage)}"])
    say(console, [DISCLAIMER])
    return outcome


def drive(plan: StudyPlan[BoundSpace], options: RunOptions, console: Console) -> RunOutcome:
    """Find the place for a plan's trials, say what is about to be run, and run them there.

    Raises:
        UsageError: when there is no such place; nothing is written.
    """
    with placed(plan, options) as placement:
        say(console, opening_words(plan, placement.words))
        return run_trials(plan, options, placement, console)


def run_trials(
    plan: StudyPlan[Suggester],
    options: RunOptions,
    placement: ExecutorChoice,
    console: Console,
    queue: Sequence[Mapping[str, Any]] | None = None,
) -> RunOutcome:
    """Run a plan's trials where they were placed, until its goal is reached.

    Args:
        plan: what to run.
        options: when to stop, and how often to try again.
        placement: where.
        console: where progress is shown.
        queue: user attributes of trials to run, and no others; None for trials that the sampler draws.
    """
    folder = StudyFolder(plan.folder)
    storage = open_storage(plan.storage)
    display, interruption = progress_reporter(console), Interrupt()
    if options.log is not None:
        display = LoggedDisplay(display, options.log, plan.metadata.name, plan.folder)
    patience = Reconnect(display.notice, interruption)
    scheduler = TrialScheduler(
        plan.metadata, plan.space, storage, plan.sampler, plan.pruner, options.max_retries, patience
    )
    folder.write_study(plan.metadata.space, plan.metadata.overview())
    for attributes in queue or ():
        scheduler.enqueue(**attributes)
    with placement.make(folder.worker_log) as executor:
        goal = StoppingCriterion(
            options.trials,
            options.timeout,
            options.keep_checkpoints,
            trial_seconds=options.trial_timeout,
            failure_limit=options.failure_limit,
            stop_when_noise=options.stop_when_noise,
            queued_only=queue is not None,
        )
        outcome = Tuner(scheduler, executor, folder, display, goal, interruption).run()
    close_storage(storage)
    return outcome


def say(console: Console, lines: list[str]) -> None:
    """Print lines as they are."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
