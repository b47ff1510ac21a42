"""Run a study: prepare it, run its trials, print the results and write the report."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from study.callbacks.logger_callback import LoggerCallback, check_logger
from study.callbacks.progress_reporter import preparation, progress_reporter
from study.messages import closing_lines, opening_lines
from study.report.disclaimer import DISCLAIMER
from study.results.study_folder import StudyFolder
from study.results.study_results import read_study
from study.setup.options import RunOptions
from study.setup.placement import ExecutorChoice, choose_executor
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
    """Run a study until it has ``options.trials`` finished trials, and write its report.

    If a study of that name exists, it is resumed. Ctrl-C stops a run; the same call resumes it.

    Args:
        options: what to run.
        console: where progress is shown; nowhere if None.

    Raises:
        UsageError: when the options, the data, the backbone or the storage cannot be used; nothing is written.
    """
    console = console or Console(quiet=True)
    check_logger(options.log)
    with preparation(console) as progress:
        plan = prepare(options, progress)
    outcome = run_plan(plan, options, console)
    results = read_study(plan.metadata.name, options.results, options.storage)
    print_lines(console, closing_lines(results, outcome, options.command))
    if options.report and outcome.progress.finished and outcome.ended in {"done", "time", "noise"}:
        from study.report.write import write_report  # noqa: PLC0415 (plotting libraries take seconds to import)

        print_lines(console, [f"Report: {write_report(plan.metadata.name, options.results, options.storage)}"])
    print_lines(console, [DISCLAIMER])
    return outcome


def run_plan(plan: StudyPlan[BoundSpace], options: RunOptions, console: Console) -> RunOutcome:
    """Choose the executor of a plan, print its description, and run the trials.

    Raises:
        UsageError: when the executor cannot be used; nothing is written.
    """
    with choose_executor(plan, options) as choice:
        print_lines(console, opening_lines(plan, choice.description))
        return run_trials(plan, options, choice, console)


def run_trials(
    plan: StudyPlan[Suggester],
    options: RunOptions,
    choice: ExecutorChoice,
    console: Console,
    queue: Sequence[Mapping[str, Any]] | None = None,
) -> RunOutcome:
    """Run the trials of a plan until the study has as many as the options say.

    Args:
        plan: what to run.
        options: when to stop, and how often to retry.
        choice: the executor.
        console: where progress is shown.
        queue: user attributes of the only trials to run; if None, the sampler draws trials.
    """
    folder = StudyFolder(plan.folder)
    storage = open_storage(plan.storage)
    interrupt, reporter = Interrupt(), progress_reporter(console)
    callbacks = [reporter]
    if options.log is not None:
        callbacks.append(LoggerCallback(options.log, plan.metadata.name, plan.folder, reporter.on_message))
    reconnect = Reconnect(reporter.on_message, lambda: interrupt.immediate)
    scheduler = TrialScheduler(
        plan.metadata, plan.space, storage, plan.sampler, plan.pruner, options.max_retries, reconnect
    )
    folder.write_study(plan.metadata.space, plan.metadata.overview())
    for attributes in queue or ():
        scheduler.enqueue(**attributes)
    with choice.make(folder.worker_log) as executor:
        criterion = StoppingCriterion(
            options.trials,
            options.timeout,
            options.keep_checkpoints,
            trial_seconds=options.trial_timeout,
            failure_limit=options.failure_limit,
            stop_when_noise=options.stop_when_noise,
            queued_only=queue is not None,
        )
        outcome = Tuner(scheduler, executor, folder, callbacks, criterion, interrupt).run()
    close_storage(storage)
    return outcome


def print_lines(console: Console, lines: Sequence[str]) -> None:
    """Print lines as they are, without Rich's markup, highlighting and line breaks."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
