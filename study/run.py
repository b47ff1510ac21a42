"""Run a study: prepare it, compute its floor, run its trials, print the results and write the report."""

import shlex
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from drft.config.trial_config import nearest
from drft.errors import UsageError
from study.callbacks.logger_callback import check_logger
from study.callbacks.progress_reporter import preparation
from study.messages import closing_lines, floor_line, opening_lines
from study.report.disclaimer import DISCLAIMER
from study.results.finalists_plan import trainings_of_finalists
from study.results.image_list import write_image_list
from study.results.study_results import read_study
from study.run_trials import print_lines, run_trials
from study.setup.floor import find_floor
from study.setup.options import RunOptions
from study.setup.placement import choose_executor
from study.setup.plan import StudyPlan, prepare
from study.space import BoundSpace
from study.study_run import StudyRun
from study.tuner.stopping import RunOutcome


def run_study(options: RunOptions | None = None, console: Console | None = None, **values: Any) -> StudyRun:
    """Run a study until it has the wanted number of finished trials, and write its report.

    If a study of that name exists, it is resumed. Ctrl-C stops a run; the same call resumes it.

    Args:
        options: what to run.
        console: where progress is shown; the terminal or the notebook if None. ``Console(quiet=True)`` shows nothing.
        values: fields of ``RunOptions`` by name, in place of those of ``options``: ``run_study(trials=20)``.

    Raises:
        UsageError: when the options, the data, the backbone or the storage cannot be used; nothing is written.
    """
    names = [field.name for field in fields(RunOptions)]
    if unknown := [name for name in values if name not in names]:
        raise UsageError(f"run_study has no option {name!r}{nearest(name, names)}" for name in unknown)
    options = RunOptions(**values) if options is None else replace(options, **values)
    console = console or Console()
    if console.is_jupyter:  # whose output calls itself a terminal, and Rich's displays need ipywidgets: plain lines
        console = Console(force_jupyter=False, force_terminal=False)
    check_logger(options.log)
    with preparation(console) as progress:
        plan = prepare(options, progress)
    outcome = run_plan(plan, options, console)
    results = read_study(plan.metadata.name, options.results, options.storage)
    print_lines(console, closing_lines(results, outcome, options.command))
    page: Path | None = None
    if options.report and outcome.progress.finished and outcome.ended in {"done", "time", "noise"}:
        from study.report.write import write_report  # noqa: PLC0415 (plotting libraries take seconds to import)

        page = write_report(plan.metadata.name, options.results, options.storage)
        print_lines(console, [f"Report: {page}"])
    elif options.report and outcome.progress.finished:
        print_lines(console, [f"Report of what is finished: drft-study report {shlex.join(results.info.arguments())}"])
    print_lines(console, [DISCLAIMER])
    return StudyRun(outcome, results, page, options.command)


def run_plan(plan: StudyPlan[BoundSpace], options: RunOptions, console: Console) -> RunOutcome:
    """Choose the executor of a plan, print its description, compute its floor, and run the trials; then its finalists.

    Returns:
        The outcome of the search, or that of the finalists if they could not be finished.

    Raises:
        UsageError: when the executor cannot be used; nothing is written.
    """
    with choose_executor(plan, options) as choice:
        print_lines(console, opening_lines(plan, choice.description))
        write_image_list(plan.folder, plan.dataset.images)
        with console.status("fitting a linear model on frozen features"):
            floor = find_floor(plan)
        print_lines(console, [floor_line(floor)])
        if plan.metadata.goal == "best":
            return run_trials(plan, options, choice, console)
        limits = options
        if options.timeout is not None:
            later = trainings_of_finalists(len(plan.space.values("depth")))
            # The finalists need their part of the time. A search of few trials may take half of it, or none would end.
            share = max(0.5, options.trials / (options.trials + later))
            limits = replace(options, timeout=share * options.timeout)
        outcome = run_trials(plan, limits, choice, console)
        if outcome.ended not in {"done", "time"} or not outcome.progress.finished:
            return outcome
        study = read_study(plan.metadata.name, options.results, options.storage)
        # Imported here, since scikit-learn takes a second to import, and a run needs it after its search only.
        from study.design.run_finalists import run_finalists  # noqa: PLC0415

        started = time.perf_counter()
        finalists = run_finalists(study, plan, options, choice, console, outcome.seconds)
    outcome = replace(outcome, seconds=outcome.seconds + time.perf_counter() - started)
    if finalists is None or finalists.ended == "done":
        return outcome
    return replace(outcome, ended=finalists.ended, reason=finalists.reason, requeued=finalists.requeued)
