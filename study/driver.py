"""The driver: asks the conductor for trials, gives them to the executor, and brings back what they say."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType, MappingProxyType
from typing import Literal, Protocol

from drft.errors import TrainingError
from drft.records import EpochRecord, TrialResult
from study.conductor import Conductor
from study.executors.base import Event, Executor, Failed, Finished, Job, Reported, Started
from study.folder import StudyFolder
from study.standing import Standing

FAILURES_IN_A_ROW = 5
"""So many failures without a success between them end the study."""

_TICK = 0.25
"""Seconds between two looks at the clock and at Ctrl-C, when no event comes."""

Ended = Literal["done", "time", "interrupted", "failing"]

_STOPPED: Mapping[Ended | None, str] = MappingProxyType(
    {
        "time": "stopped by the time limit",
        "interrupted": "interrupted",
        "failing": "stopped because too many trials failed",
        None: "stopped by a fault of the driver",
    }
)
"""Why trials were stopped that were under way."""


@dataclass(frozen=True, slots=True)
class Goal:
    """When a run ends."""

    trials: int
    """Finished trials (COMPLETE and PRUNED) of the study, those of earlier runs included."""
    seconds: float | None = None
    """Wall time of this run; None for no limit."""
    checkpoints: int = 5
    """Checkpoints kept: those of so many best trials."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    ended: Ended
    standing: Standing
    seconds: float
    requeued: int = 0
    """Trials that were stopped and will be run again."""
    reason: str = ""
    """The commonest reason of failure, when failures ended the run."""


class Display(Protocol):
    """Shows a run to the user."""

    def begin(self, standing: Standing, goal: int) -> None:
        """The first trial is about to start."""

    def started(self, job: Job, event: Started) -> None:
        """A worker took a job."""

    def epoch(self, job: Job, record: EpochRecord) -> None:
        """A trial ended an epoch."""

    def ended(self, job: Job, outcome: TrialResult | str, standing: Standing) -> None:
        """A trial finished with a result, or failed with a reason."""

    def end(self) -> None:
        """No more will come."""


@dataclass(slots=True)
class Driver:
    """Runs one study from where it stands to its goal."""

    conductor: Conductor
    executor: Executor
    folder: StudyFolder
    display: Display
    goal: Goal
    _jobs: dict[int, Job] = field(default_factory=dict)
    _failures: Counter[str] = field(default_factory=Counter)
    _failed_in_a_row: int = 0

    def run(self) -> Outcome:
        """Ask, train, report and finish until the goal is reached, time is up, or the user says stop.

        Trials still under way are then stopped and queued again, so that the next run goes on with them.
        """
        started = time.monotonic()
        self.folder.drop_trials(self.conductor.reclaim())
        self.folder.find_checkpoints()
        self.display.begin(self.conductor.standing, self.goal.trials)
        ended: Ended | None = None
        try:
            with _interruptions() as interruption:
                while (ended := self._reason_to_end(started, interrupted=interruption.asked)) is None:
                    self._fill_slots()
                    for event in self.executor.wait(_TICK):
                        self._take(event)
        finally:
            requeued = [] if ended == "done" else self.conductor.interrupt(_STOPPED[ended])
            self.display.end()
        self.folder.find_checkpoints()
        self._drop_checkpoints()
        return Outcome(
            ended=ended,
            standing=self.conductor.standing,
            seconds=time.monotonic() - started,
            requeued=len(requeued),
            reason=self._failures.most_common(1)[0][0] if ended == "failing" else "",
        )

    def _reason_to_end(self, started: float, *, interrupted: bool) -> Ended | None:
        if self.conductor.running == 0 and self.conductor.finished >= self.goal.trials:
            return "done"
        if interrupted:
            return "interrupted"
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            return "failing"
        if self.goal.seconds is not None and time.monotonic() - started >= self.goal.seconds:
            return "time"
        return None

    def _fill_slots(self) -> None:
        free = self.executor.slots - self.conductor.running
        if not free:
            return
        self.conductor.refresh()
        wanted = self.goal.trials - self.conductor.finished - self.conductor.running
        for _ in range(min(free, wanted)):
            job = self.conductor.ask()
            self._jobs[job.number] = job
            self.executor.submit(job)

    def _take(self, event: Event) -> None:
        job = self._jobs[event.number]
        match event:
            case Started(number, worker, device):
                self.conductor.started(number, worker, device)
                self.display.started(job, event)
            case Reported(number, record):
                self.executor.answer(number, keep_on=self.conductor.report(number, record))
                self.display.epoch(job, record)
            case Finished(number, result):
                self._finish(job, result)
            case Failed(number, reason, traceback):
                self._fail(job, reason, traceback)

    def _finish(self, job: Job, result: TrialResult) -> None:
        try:
            self.conductor.check(job.number, result)
        except TrainingError as error:
            self._fail(job, str(error), "")
            return
        # Files first: should the driver die in between, the trial is run again and its folder written anew.
        self.folder.write_trial(job.number, result, checkpoint=self._is_leading(result))
        self.conductor.finish(job.number, result)
        self._drop_checkpoints()
        self._failed_in_a_row = 0
        self._end(job, result)

    def _fail(self, job: Job, reason: str, traceback: str) -> None:
        self.folder.write_failure(job.number, job.config, reason, traceback)
        self.conductor.fail(job.number, reason)
        self._failures[reason] += 1
        self._failed_in_a_row += 1
        self._end(job, reason)

    def _end(self, job: Job, outcome: TrialResult | str) -> None:
        del self._jobs[job.number]
        self.display.ended(job, outcome, self.conductor.standing)

    def _drop_checkpoints(self) -> None:
        best = self.conductor.ranking[: self.goal.checkpoints]
        self.folder.keep_checkpoints([ranked.number for ranked in best])

    def _is_leading(self, result: TrialResult) -> bool:
        if result.ending == "pruned":
            return False
        score = result.best.score(result.config.metric)
        best = self.conductor.ranking[: self.goal.checkpoints]
        return sum(ranked.value >= score for ranked in best) < self.goal.checkpoints


@dataclass(slots=True)
class _Interruption:
    asked: bool = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def _interruptions() -> Iterator[_Interruption]:
    """Note the first Ctrl-C (or SIGTERM) instead of raising, so that no commit is cut in two; a second one raises."""
    interruption = _Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {number: signal.signal(number, interruption.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
