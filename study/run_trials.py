"""Run the trials of a plan: open its storage, make the executor, and let the tuner work."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from threadpoolctl import threadpool_limits

from study.callbacks.logger_callback import LoggerCallback
from study.callbacks.progress_reporter import print_line, progress_reporter
from study.results.study_folder import StudyFolder
from study.setup.options import RunOptions
from study.setup.placement import ExecutorChoice
from study.setup.plan import StudyPlan
from study.space.suggester import Suggester
from study.storage.open import close_storage, open_storage
from study.storage.reconnect import Reconnect
from study.tuner.interrupt import Interrupt
from study.tuner.stopping import RunOutcome, StoppingCriterion
from study.tuner.trial_scheduler import TrialScheduler
from study.tuner.tuner import Tuner


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
    folder = StudyFolder(plan.folder, plan.dataset.grades)
    storage = open_storage(plan.storage)
    interrupt, reporter = Interrupt(), progress_reporter(console)
    callbacks = [reporter, *options.callbacks]
    if options.log is not None:
        callbacks.append(
            LoggerCallback(
                options.log, plan.metadata.name, plan.folder, reporter.on_message, ordinal=plan.dataset.ordinal
            )
        )
    reconnect = Reconnect(reporter.on_message, lambda: interrupt.immediate)
    scheduler = TrialScheduler(
        plan.metadata, plan.space, storage, plan.sampler, plan.pruner, options.max_retries, reconnect
    )
    if scheduler.tally.finished < options.trials:
        folder.write_study(plan.metadata.space, scheduler.record_metadata().overview())
    for attributes in queue or ():
        scheduler.enqueue(**attributes)
    # One thread: those of a BLAS library wait busily for a while after every product, on the cores of the workers.
    with choice.make(folder.worker_log) as executor, threadpool_limits(1, "blas"):
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
    """Print lines, see ``print_line``."""
    for line in lines:
        print_line(console, line)
