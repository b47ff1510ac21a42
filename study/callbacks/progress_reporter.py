"""What the user sees while a study runs: a live display on a terminal, one line per finished trial elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from drft.data.progress import Progress as Tell
from drft.training.records import EpochRecord, FoldEpoch, TrialResult
from study.callbacks.callback import Callback
from study.executors.base import Job, Started
from study.results.metric_names import displayed_score, score_text
from study.results.progress import BestCertainty, StudyProgress, time_left


def progress_reporter(console: Console) -> Callback:
    """Return the display that suits a console."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)


@contextmanager
def preparation(console: Console) -> Iterator[Tell]:
    """Show long work before the first trial (rendering, decoding): a bar, or one line for each kind of work."""
    if console.is_terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=console, transient=True) as bars:
            yield _bar_for_each_work(bars)
    else:
        yield _line_for_each_work(console)


@dataclass(slots=True)
class TimeLeft:
    """Estimates when a run is over, from the trials it finished itself."""

    goal: int
    finished_before: int
    started: float | None = None

    def start(self) -> None:
        """Start with the first trial: the workers' own start says nothing about the pace."""
        if self.started is None:
            self.started = time.monotonic()

    def remaining(self, finished: int) -> float | None:
        """Return the seconds left; None as long as no trial has finished."""
        mine = finished - self.finished_before
        if mine <= 0 or self.started is None:
            return None
        return (time.monotonic() - self.started) / mine * max(0, self.goal - finished)


class PlainProgress:
    """One line per finished or failed trial."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._clock = TimeLeft(0, 0)

    def begin(self, progress: StudyProgress, goal: int) -> None:
        """Say where the study stands."""
        self._clock = TimeLeft(goal, progress.finished)
        self._say(f"{progress.finished} of {goal} trials are finished")

    def started(self, job: Job, event: Started) -> None:
        """Say nothing."""
        self._clock.start()

    def epoch(self, job: Job, record: EpochRecord) -> None:
        """Say nothing."""

    def ended(self, job: Job, outcome: TrialResult | str, progress: StudyProgress) -> None:
        """Say how the trial went."""
        left = time_left(self._clock.remaining(progress.finished))
        self._say(f"{verdict(job, outcome)} | {tally(progress, self._clock.goal)} | {left}")

    def notice(self, line: str) -> None:
        """Say it."""
        self._say(line)

    def end(self) -> None:
        """Say nothing."""

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


@dataclass(slots=True)
class _Row:
    """What is shown of a running trial."""

    job: Job
    worker: str
    record: EpochRecord | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        config = self.job.config
        name = f"trial {self.job.number}"
        if self.record is None:
            return self.worker, name, f"depth {config.depth}", "starting", ""
        phase, of = self.record.phase, getattr(config, f"{self.record.phase}_phase").epochs
        fold = f"fold {self.record.fold + 1}/{config.split.folds}, " if isinstance(self.record, FoldEpoch) else ""
        scores = f"train {self.record.train_accuracy:.3f}  val {self.record.val_accuracy:.3f}"
        return self.worker, name, f"depth {config.depth}", f"{fold}{phase} phase {self.record.epoch}/{of}", scores


class LiveProgress:
    """A bar, the best trial, and one line per slot, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._clock = TimeLeft(0, 0)
        self._progress = StudyProgress()
        self._rows: dict[int, _Row] = {}
        self._bar = Progress(
            BarColumn(), MofNCompleteColumn(), TextColumn("trials"), _TimeLeftColumn(self), console=console
        )
        self._task = self._bar.add_task("")
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)

    def begin(self, progress: StudyProgress, goal: int) -> None:
        """Open the display."""
        self._clock = TimeLeft(goal, progress.finished)
        self._set(progress)
        self._live.start()

    def started(self, job: Job, event: Started) -> None:
        """Add the trial's line."""
        self._clock.start()
        self._rows[job.number] = _Row(job, event.worker)

    def epoch(self, job: Job, record: EpochRecord) -> None:
        """Bring the trial's line up to date."""
        self._rows[job.number].record = record

    def ended(self, job: Job, outcome: TrialResult | str, progress: StudyProgress) -> None:
        """Remove the trial's line; failures stay above the display, for they should be seen."""
        self._rows.pop(job.number, None)
        self._set(progress)
        if isinstance(outcome, str):
            self._console.print(Text(verdict(job, outcome), style="red"), soft_wrap=True)

    def notice(self, line: str) -> None:
        """Say it above the display, where it stays."""
        self._console.print(Text(line, style="yellow"), soft_wrap=True)

    def end(self) -> None:
        """Close the display."""
        self._live.stop()

    @property
    def left(self) -> str:
        """The time left, in words."""
        return time_left(self._clock.remaining(self._progress.finished))

    def _set(self, progress: StudyProgress) -> None:
        self._progress = progress
        self._bar.update(self._task, total=self._clock.goal, completed=progress.finished)

    def _draw(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for row in sorted(self._rows.values(), key=lambda row: row.worker):
            table.add_row(*row.cells)
        if self._clock.started is None:
            table.add_row("workers are starting")
        return Group(self._bar, Text(tally(self._progress, self._clock.goal)), table)


class _TimeLeftColumn(ProgressColumn):
    def __init__(self, display: LiveProgress) -> None:
        super().__init__()
        self._display = display

    def render(self, task: object) -> Text:
        return Text(self._display.left)


def verdict(job: Job, outcome: TrialResult | str) -> str:
    """Say in a line how one trial went."""
    name = f"trial {job.number} (depth {job.config.depth})"
    if isinstance(outcome, str):
        return f"{name} failed: {outcome}"
    best, last, metric = outcome.best, outcome.last, outcome.config.metric
    score = f"best {score_text(metric, best.score(metric))} at step {best.step} of {last.step}"
    folds = f" after {outcome.folds} of {job.config.split.folds} folds" if outcome.folds else ""
    return f"{name} {outcome.ending.replace('_', ' ')}{folds}: {score}"


def tally(progress: StudyProgress, goal: int) -> str:
    """Say in a line how far a study is."""
    parts = [f"{progress.finished}/{goal} finished, {progress.pruned} of them pruned", f"{progress.failed} failed"]
    if progress.best:
        best = displayed_score(progress.metric, progress.best.value)
        parts.append(f"best {best:.3f} (trial {progress.best.number}{_certainty(progress.certainty)})")
    elif progress.infeasible:
        parts.append(f"none of {progress.infeasible} completed is feasible (--max-gap)")
    return ", ".join(parts)


def _certainty(certainty: BestCertainty | None) -> str:
    """Say how sure the best is, and how many are as good for all that the images can tell."""
    if certainty is None:
        return ""
    text = f"; 95% {certainty.low:.3f} to {certainty.high:.3f}"
    if certainty.completed > 1:
        text += f"; {certainty.indistinguishable} of {certainty.completed} completed are indistinguishable from it"
    return text


def _bar_for_each_work(bars: Progress) -> Tell:
    tasks = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what)
        bars.update(tasks[what], completed=done, total=total)

    return tell


def _line_for_each_work(console: Console) -> Tell:
    said = set()

    def tell(what: str, done: int, total: int) -> None:
        if what not in said and done < total:
            said.add(what)
            console.print(f"{what} ({total})", markup=False, highlight=False, soft_wrap=True)

    return tell
