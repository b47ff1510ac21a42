"""Progress on the terminal: a live display, or one line per finished trial where the output is not a terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from drft.data.progress import Progress as ReportWork
from drft.training.records import EpochRecord, FoldEpoch, TrialResult
from study.callbacks.callback import Callback
from study.executors.base import Job, Started
from study.results.metric_names import displayed_score, score_text
from study.results.progress import StudyProgress, time_left

_EVERY = 10
"""Finished trials between two lines about the progress of the study, where the output is not a terminal."""


def progress_reporter(console: Console) -> Callback:
    """Return the progress reporter for a console."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)


@contextmanager
def preparation(console: Console) -> Iterator[ReportWork]:
    """Show long work before the first trial (rendering, decoding): a bar, or one line for each kind of work.

    Yields:
        A function that is called with the kind of work, what is done and the total.
    """
    if console.is_terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=console, transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def show_bar(work: str, done: int, total: int) -> None:
                if work not in tasks:
                    tasks[work] = bars.add_task(work)
                bars.update(tasks[work], completed=done, total=total)

            yield show_bar
    else:
        printed: set[str] = set()

        def print_once(work: str, done: int, total: int) -> None:
            if work not in printed and done < total:
                printed.add(work)
                print_line(console, f"{work} ({total})")

        yield print_once


@dataclass(slots=True)
class RemainingTime:
    """Estimates the remaining time of a run from the trials that it finished itself."""

    goal: int
    finished_before: int
    started: float | None = None
    ends: float | None = None
    """When the run is expected to end, on the clock of ``time.monotonic``."""

    def start(self) -> None:
        """Start the clock with the first trial, so that the start of the workers does not count."""
        if self.started is None:
            self.started = time.monotonic()

    def update(self, finished: int) -> None:
        """Estimate the end anew, given the finished trials of the study; until the next one, the time counts down."""
        here = finished - self.finished_before
        if here > 0 and self.started is not None:
            now = time.monotonic()
            self.ends = now + (now - self.started) / here * max(0, self.goal - finished)

    @property
    def text(self) -> str:
        """The remaining time, as text."""
        return time_left(None if self.ends is None else max(0.0, self.ends - time.monotonic()))


class PlainProgress(Callback):
    """Prints one line per finished or failed trial, and the progress of the study with every tenth."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._remaining = RemainingTime(0, 0)

    def on_study_begin(self, progress: StudyProgress, goal: int) -> None:
        """Print how many trials are finished."""
        self._remaining = RemainingTime(goal, progress.finished)
        self.on_message(f"{progress.finished} of {goal} trials are finished")

    def on_trial_begin(self, job: Job, event: Started) -> None:
        """Start the clock."""
        self._remaining.start()

    def on_trial_end(self, job: Job, outcome: TrialResult | str, progress: StudyProgress) -> None:
        """Print the outcome of the trial; now and then the progress of the study, too."""
        self.on_message(trial_line(job, outcome))
        self._remaining.update(progress.finished)
        goal = self._remaining.goal
        if not isinstance(outcome, str) and (progress.finished % _EVERY == 0 or progress.finished == goal):
            self.on_message(f"{progress_line(progress, goal)}; {self._remaining.text}")

    def on_message(self, line: str) -> None:
        """Print the line."""
        print_line(self._console, line)


@dataclass(slots=True)
class _TrialRow:
    """The line of a running trial."""

    job: Job
    worker: str
    record: EpochRecord | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        config = self.job.config
        name = f"trial {self.job.number}"
        if self.record is None:
            return self.worker, name, f"depth {config.depth}", "starting", ""
        epochs = getattr(config, f"{self.record.phase}_phase").epochs
        fold = f"fold {self.record.fold + 1}/{config.split.folds}, " if isinstance(self.record, FoldEpoch) else ""
        scores = f"train {self.record.train_accuracy:.3f}  val {self.record.val_accuracy:.3f}"
        phase = f"{fold}{self.record.phase} phase {self.record.epoch}/{epochs}"
        return self.worker, name, f"depth {config.depth}", phase, scores


class LiveProgress(Callback):
    """Shows a bar, the best trial, and one line per running trial, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._remaining = RemainingTime(0, 0)
        self._progress = StudyProgress()
        self._rows: dict[int, _TrialRow] = {}
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("trials"), _RemainingTimeColumn(self))
        self._bar = Progress(*columns, console=console)
        self._task = self._bar.add_task("")
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)

    def on_study_begin(self, progress: StudyProgress, goal: int) -> None:
        """Open the display."""
        self._remaining = RemainingTime(goal, progress.finished)
        self._update(progress)
        self._live.start()

    def on_trial_begin(self, job: Job, event: Started) -> None:
        """Add the trial's line."""
        self._remaining.start()
        self._rows[job.number] = _TrialRow(job, event.worker)

    def on_epoch(self, job: Job, record: EpochRecord) -> None:
        """Update the trial's line."""
        self._rows[job.number].record = record

    def on_trial_end(self, job: Job, outcome: TrialResult | str, progress: StudyProgress) -> None:
        """Remove the trial's line. A failure stays above the display."""
        self._rows.pop(job.number, None)
        self._update(progress)
        if isinstance(outcome, str):
            self._console.print(Text(trial_line(job, outcome), style="red"))

    def on_message(self, line: str) -> None:
        """Print the line above the display, where it stays."""
        self._console.print(Text(line, style="yellow"))

    def on_study_end(self) -> None:
        """Close the display."""
        self._live.stop()

    @property
    def remaining_time(self) -> str:
        """The remaining time, as text."""
        return self._remaining.text

    def _update(self, progress: StudyProgress) -> None:
        self._progress = progress
        self._remaining.update(progress.finished)
        self._bar.update(self._task, total=self._remaining.goal, completed=progress.finished)

    def _draw(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for row in sorted(self._rows.values(), key=lambda row: row.worker):
            table.add_row(*row.cells)
        if self._remaining.started is None:
            table.add_row("workers are starting")
        return Group(self._bar, Text(progress_line(self._progress, self._remaining.goal)), table)


class _RemainingTimeColumn(ProgressColumn):
    def __init__(self, progress: LiveProgress) -> None:
        super().__init__()
        self._progress = progress

    def render(self, task: object) -> Text:
        return Text(self._progress.remaining_time)


def trial_line(job: Job, outcome: TrialResult | str) -> str:
    """Return the outcome of one trial as a line."""
    name = f"trial {job.number} (depth {job.config.depth})"
    if isinstance(outcome, str):
        return f"{name} failed: {outcome}"
    best, last, metric = outcome.best, outcome.last, outcome.config.metric
    score = f"best {score_text(metric, best.score(metric))} at epoch {best.step} of {last.step}"
    folds = f" after {outcome.folds} of {job.config.split.folds} folds" if outcome.folds else ""
    return f"{name} {outcome.ending.replace('_', ' ')}{folds}: {score}"


def progress_line(progress: StudyProgress, goal: int) -> str:
    """Return the progress of a study as a line, with the interval of the best score where it is known."""
    parts = [f"{progress.finished}/{goal} finished, {progress.pruned} of them pruned", f"{progress.failed} failed"]
    if progress.best:
        certainty = progress.certainty
        interval = f"; 95% {certainty.low:.3f} to {certainty.high:.3f}" if certainty else ""
        if certainty and certainty.completed > 1:
            interval += (
                f"; {certainty.indistinguishable} of {certainty.completed} completed are indistinguishable from it"
            )
        best = displayed_score(progress.metric, progress.best.value)
        parts.append(f"best {best:.3f} (trial {progress.best.number}{interval})")
    elif progress.infeasible:
        parts.append(f"none of {progress.infeasible} completed is feasible (--max-gap)")
    return ", ".join(parts)


def print_line(console: Console, line: str) -> None:
    """Print a line without Rich's markup and colors. Only a terminal has a width: there, it is broken at words."""
    console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)
