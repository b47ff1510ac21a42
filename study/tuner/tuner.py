"""The driver: asks the conductor for trials, gives them to the executor, and brings back what they say."""

import errno
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from drft.errors import StudyError, TrainingError
from drft.training.records import TrialResult
from study.callbacks.callback import Callback
from study.executors.base import Event, Executor, Failed, Finished, Job, Kind, Reported, Started, WorkerLost
from study.results.progress import FINISHED, StudyProgress
from study.results.study_folder import StudyFolder
from study.tuner.interrupt import Interrupt
from study.tuner.noise_stopper import NoiseStopper
from study.tuner.pending import PendingJobs
from study.tuner.stopping import Ended, RunOutcome, StoppingCriterion
from study.tuner.trial_scheduler import TrialScheduler

FEW_FAILURES = 5
"""Fewer failures than these end no study, however few trials there were."""

_REMEMBERED = 20
"""Trials of which the failing fraction is taken: what went well last night does not excuse what fails now."""

_RECLAIM_SECONDS = 15.0
"""Seconds between two looks for trials of drivers that died meanwhile."""

_DISK_SECONDS = 5.0
"""Seconds between two tries to write to a full disk."""

_FULL = {errno.ENOSPC, errno.EDQUOT}

_TICK = 0.25
"""Seconds between two looks at the clock and at Ctrl-C, when no event comes."""

_STOPPED: Mapping[Ended | None, str] = MappingProxyType(
    {
        "time": "stopped by the time limit",
        "interrupted": "interrupted",
        "failing": "stopped because too many trials failed",
        None: "stopped by a fault of the driver",
    }
)
"""Why trials were stopped that were under way."""


@dataclass(slots=True)
class Tuner:
    """Runs one study from where it stands to its goal."""

    scheduler: TrialScheduler
    executor: Executor
    folder: StudyFolder
    display: Callback
    goal: StoppingCriterion
    interruption: Interrupt = field(default_factory=Interrupt)
    _jobs: dict[int, Job] = field(default_factory=dict)
    _held: PendingJobs = field(default_factory=PendingJobs)
    _begun: dict[int, float] = field(default_factory=dict)
    _overdue: set[int] = field(default_factory=set)
    _failures: Counter[str] = field(default_factory=Counter)
    _lately: deque[bool] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    """Whether each of the last trials failed."""
    _reclaimed: float = 0.0
    _certainty: NoiseStopper = field(default_factory=NoiseStopper)
    _noise: str | None = None

    def run(self) -> RunOutcome:
        """Ask, train, report and finish until the goal is reached, time is up, or the user says stop.

        Trials still under way are then stopped and queued again, so that the next run goes on with them.
        """
        started = time.monotonic()
        self._reclaim()
        self.folder.find_checkpoints()
        if self._judges_noise:
            self._certainty.recall(self.scheduler.best_steps(), self.folder.trials)
            self._look_for_noise()
        self.display.begin(self._progress, self.goal.trials)
        ended: Ended | None = None
        try:
            with self.interruption.heard():
                while (ended := self._reason_to_end(started)) is None:
                    self.scheduler.beat()
                    self._fill_slots()
                    for event in self.executor.wait(_TICK):
                        self._take(event)
                    self._end_overdue()
                    self._say_that_the_rest_is_finished()
        finally:
            requeued = [] if ended in {"done", "noise"} else self.scheduler.interrupt(_STOPPED[ended])
            self.display.end()
        self.folder.find_checkpoints()
        self._drop_checkpoints()
        return RunOutcome(
            ended=ended,
            progress=self._progress,
            seconds=time.monotonic() - started,
            requeued=len(requeued),
            reason=self._failures.most_common(1)[0][0] if ended == "failing" else self._noise or "",
        )

    def _reason_to_end(self, started: float) -> Ended | None:
        idle = self._training == 0
        if idle and (self.scheduler.finished >= self.goal.trials or self._queue_is_done()):
            return "done"
        if self.interruption.now or (self.interruption.asked and idle):
            return "interrupted"
        if self._noise and idle:
            return "noise"
        if sum(self._lately) >= max(FEW_FAILURES, self.goal.failure_limit * len(self._lately) + 1e-9):
            return "failing"
        if self.goal.seconds is not None and time.monotonic() - started >= self.goal.seconds:
            return "time"
        return None

    def _queue_is_done(self) -> bool:
        return self.goal.queued_only and not self.scheduler.waiting and not self.scheduler.underway

    @property
    def _training(self) -> int:
        return self.scheduler.running - len(self._held)

    def _fill_slots(self) -> None:
        free = self.executor.slots - self._training
        if not free or self._noise or self.interruption.asked:
            return
        if time.monotonic() - self._reclaimed > _RECLAIM_SECONDS:
            self._reclaim()
        self.scheduler.refresh()
        wanted = self.goal.trials - self.scheduler.finished - self.scheduler.underway
        if self.goal.queued_only:
            wanted = min(wanted, self.scheduler.waiting)
        self._ask(wanted if self._are_last(wanted) else min(free - len(self._held), wanted))
        for _ in range(min(free, len(self._held))):
            job = self._held.next()
            self._jobs[job.number] = job
            self.executor.submit(job)

    def _are_last(self, wanted: int) -> bool:
        """Tell whether so many trials are asked for at once, to start the costliest first: the last one of each slot.

        Not where other drivers could start them at once, nor where noise may end the study before they are started.
        """
        alone = self.scheduler.underway == self.scheduler.running
        return 1 < self.executor.slots >= wanted and alone and not self.goal.stop_when_noise

    def _ask(self, number: int) -> None:
        for _ in range(number):
            job = self.scheduler.ask(self.goal.trials)
            if job is None:
                break
            self._held.add(job)
        if number > 0 and len(self._held) > self.executor.slots - self._training:
            self._held.sort(self.scheduler.trials(*FINISHED))

    def _take(self, event: Event) -> None:
        if isinstance(event, WorkerLost):
            self.display.notice(f"{event.worker} serves no more: {event.reason}")
            return
        job = self._jobs[event.number]
        match event:
            case Started(number, worker, device):
                self._begun[number] = time.monotonic()
                self.scheduler.started(number, worker, device)
                self.display.started(job, event)
            case Reported(number, record):
                self.executor.answer(number, keep_on=self.scheduler.report(number, record))
                self.display.epoch(job, record)
            case Finished(number, result):
                self._finish(job, result)
            case Failed(number, reason, traceback, kind):
                if number in self._overdue:
                    reason = f"it took longer than {self.goal.trial_seconds:g} s, the limit of --trial-timeout"
                self._fail(job, reason, traceback, kind)

    def _finish(self, job: Job, result: TrialResult) -> None:
        try:
            self.scheduler.check(job.number, result)
        except TrainingError as error:
            self._fail(job, str(error), "", "diverged")
            return
        # Files first: should the driver die in between, the trial is run again and its folder written anew.
        leading = self._is_leading(job.number, result)
        self._once_there_is_space(lambda: self.folder.write_trial(job.number, result, checkpoint=leading))
        if not self.scheduler.finish(job.number, result):
            self.folder.drop_trials([job.number])
            self._end(job, "another driver took this one for dead and has queued the trial again")
            return
        self._drop_checkpoints()
        self._lately.append(False)
        self._grow_certain(job.number, result)
        self._end(job, result)

    def _fail(self, job: Job, reason: str, traceback: str, kind: Kind) -> None:
        self._once_there_is_space(lambda: self.folder.write_failure(job.number, job.config, reason, traceback))
        again = self.scheduler.fail(job.number, reason, kind)
        self._failures[reason] += 1
        self._lately.append(True)
        self._end(job, f"{reason}; it will be run again" if again else reason)

    def _end(self, job: Job, outcome: TrialResult | str) -> None:
        del self._jobs[job.number]
        self._begun.pop(job.number, None)
        self._overdue.discard(job.number)
        self.display.ended(job, outcome, self._progress)

    def _grow_certain(self, number: int, result: TrialResult) -> None:
        if not (self._judges_noise and self.scheduler.ranked(number, result).feasible):
            return
        self._certainty.add(number, result)
        self._look_for_noise()

    @property
    def _judges_noise(self) -> bool:
        """What is known of the best accuracy says nothing of another score; and queued trials differ in their split."""
        return self.scheduler.metric == "accuracy" and not self.goal.queued_only

    def _look_for_noise(self) -> None:
        if self.goal.stop_when_noise and not self._noise:
            self._noise = self._certainty.noise()

    @property
    def _progress(self) -> StudyProgress:
        return self.scheduler.progress._replace(certainty=self._certainty.certainty(), metric=self.scheduler.metric)

    def _reclaim(self) -> None:
        self.folder.drop_trials(self.scheduler.reclaim())
        self._reclaimed = time.monotonic()

    def _end_overdue(self) -> None:
        limit = self.goal.trial_seconds
        for number, begun in self._begun.items():
            if limit is not None and time.monotonic() - begun > limit and number not in self._overdue:
                self._overdue.add(number)
                self.executor.kill(number)

    def _say_that_the_rest_is_finished(self) -> None:
        if self.interruption.is_news() and self._training:
            self.display.notice(
                f"Ctrl-C: trials under way are finished first ({self._training}); Ctrl-C again stops them now"
            )

    def _once_there_is_space(self, write: Callable[[], None]) -> None:
        """Write files; on a full disk wait until there is room for them, for a finished training is worth it.

        Raises:
            StudyError: when the user stops the run while it waits.
        """
        told = False
        while True:
            try:
                return write()
            except OSError as error:
                if error.errno not in _FULL:
                    raise
            if not told:
                told = True
                self.display.notice(f"no space left for {self.folder.path}: free some, and the study goes on by itself")
            if self.interruption.wait(_DISK_SECONDS):
                raise StudyError(f"no space left for {self.folder.path}: free some, then run the same command again")

    def _drop_checkpoints(self) -> None:
        best = self.scheduler.ranking[: self.goal.checkpoints]
        self.folder.keep_checkpoints([ranked.number for ranked in best])

    def _is_leading(self, number: int, result: TrialResult) -> bool:
        """Return whether a trial will be among the best, as they are ranked."""
        if result.ending == "pruned":
            return False
        best = self.scheduler.ranking[: self.goal.checkpoints]
        ahead = sum(ranked.rank_key < self.scheduler.ranked(number, result).rank_key for ranked in best)
        return ahead < self.goal.checkpoints
