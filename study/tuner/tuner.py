"""The tuner: asks for trials, gives them to the executor, and records what comes back."""

import errno
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ParamSpec

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

P = ParamSpec("P")

FEW_FAILURES = 5
"""Fewer failures than these never end a run, however few trials there were."""

_RECENT_TRIALS = 20
"""The share of failures is that of the latest trials: earlier successes do not excuse them."""

_RECLAIM_SECONDS = 15.0
"""Time between two checks for trials of dead tuners."""

_DISK_SECONDS = 5.0
"""Time between two attempts to write to a full disk."""

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}

_TICK = 0.25
"""Longest wait for an event, in seconds, before the clock and Ctrl-C are checked."""

_STOP_REASONS: Mapping[Ended | None, str] = MappingProxyType(
    {
        "time": "stopped by the time limit",
        "interrupted": "interrupted",
        "failing": "stopped because too many trials failed",
        None: "stopped by an error of the tuner",
    }
)
"""Recorded reason of trials that were running when the run ended."""


@dataclass(slots=True)
class Tuner:
    """Runs one study until its stopping criterion is met."""

    scheduler: TrialScheduler
    executor: Executor
    folder: StudyFolder
    callbacks: Sequence[Callback]
    stopping: StoppingCriterion
    interrupt: Interrupt = field(default_factory=Interrupt)
    _jobs: dict[int, Job] = field(default_factory=dict)
    _pending: PendingJobs = field(default_factory=PendingJobs)
    _started: dict[int, float] = field(default_factory=dict)
    _overdue: set[int] = field(default_factory=set)
    _failures: Counter[str] = field(default_factory=Counter)
    _recent_failures: deque[bool] = field(default_factory=lambda: deque(maxlen=_RECENT_TRIALS))
    """Whether each of the latest trials failed."""
    _reclaimed: float = 0.0
    _noise_stopper: NoiseStopper = field(default_factory=NoiseStopper)
    _noise: str | None = None
    """Why further trials could only add noise."""

    def run(self) -> RunOutcome:
        """Ask, train, report and finish until the stopping criterion is met or the user stops the run.

        Trials that still run then are stopped and queued again, so that the next run starts with them.
        """
        started = time.monotonic()
        self._reclaim()
        self.folder.find_checkpoints()
        if self._checks_noise:
            self._noise_stopper.read_earlier(self.scheduler.tally.best_steps(), self.folder.trials)
            self._check_noise()
        for callback in self.callbacks:
            callback.on_study_begin(self._progress, self.stopping.trials)
        ended: Ended | None = None
        try:
            with self.interrupt.catch_signals():
                while (ended := self._reason_to_end(started)) is None:
                    self.scheduler.send_heartbeat()
                    self._submit_jobs()
                    for event in self.executor.wait(_TICK):
                        self._handle(event)
                    self._kill_overdue()
                    if self.interrupt.announce() and self._training:
                        self._message(f"Ctrl-C: {self._training} running trials finish first; Ctrl-C again stops them")
        finally:
            requeued = [] if ended in {"done", "noise"} else self.scheduler.interrupt(_STOP_REASONS[ended])
            for callback in self.callbacks:
                callback.on_study_end()
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
        idle, tally = self._training == 0, self.scheduler.tally
        queue_is_done = self.stopping.queued_only and not tally.waiting and not tally.running
        if idle and (tally.finished >= self.stopping.trials or queue_is_done):
            return "done"
        if self.interrupt.immediate or (self.interrupt.requested and idle):
            return "interrupted"
        if self._noise and idle:
            return "noise"
        limit = self.stopping.failure_limit * len(self._recent_failures)
        # The small number makes the limit strict: half of the trials may fail, more than half may not.
        if sum(self._recent_failures) >= max(FEW_FAILURES, limit + 1e-9):
            return "failing"
        if self.stopping.seconds is not None and time.monotonic() - started >= self.stopping.seconds:
            return "time"
        return None

    @property
    def _training(self) -> int:
        """Number of trials of this tuner that a worker trains."""
        return self.scheduler.running - len(self._pending)

    def _submit_jobs(self) -> None:
        """Ask for as many trials as there are free workers, and submit them."""
        free = self.executor.slots - self._training
        if not free or self._noise or self.interrupt.requested:
            return
        if time.monotonic() - self._reclaimed > _RECLAIM_SECONDS:
            self._reclaim()
        tally = self.scheduler.tally
        tally.refresh()
        wanted = self.stopping.trials - tally.finished - tally.running
        if self.stopping.queued_only:
            wanted = min(wanted, tally.waiting)
        # The last trial of every worker is asked for now, to start the longest first. Not where another tuner could
        # start these trials at once, nor where noise may end the study before they start.
        alone = tally.running == self.scheduler.running
        last = 1 < self.executor.slots >= wanted and alone and not self.stopping.stop_when_noise
        for _ in range(wanted if last else min(free - len(self._pending), wanted)):
            job = self.scheduler.ask(self.stopping.trials)
            if job is None:
                break
            self._pending.add(job)
        if wanted > 0 and len(self._pending) > free:
            self._pending.sort(tally.trials(*FINISHED))
        for _ in range(min(free, len(self._pending))):
            job = self._pending.pop()
            self._jobs[job.number] = job
            self.executor.submit(job)

    def _handle(self, event: Event) -> None:
        if isinstance(event, WorkerLost):
            self._message(f"worker {event.worker} lost: {event.reason}")
            return
        job = self._jobs[event.number]
        match event:
            case Started(number, worker, device):
                self._started[number] = time.monotonic()
                self.scheduler.started(number, worker, device)
                for callback in self.callbacks:
                    callback.on_trial_begin(job, event)
            case Reported(number, record):
                self.executor.answer(number, keep_on=self.scheduler.report(number, record))
                for callback in self.callbacks:
                    callback.on_epoch(job, record)
            case Finished(number, result):
                self._finish(job, result)
            case Failed(number, reason, traceback, kind):
                if number in self._overdue:
                    reason = f"it took longer than {self.stopping.trial_seconds:g} s, the limit of --trial-timeout"
                self._fail(job, reason, traceback, kind)

    def _finish(self, job: Job, result: TrialResult) -> None:
        number = job.number
        try:
            self.scheduler.check(number, result)
        except TrainingError as error:
            self._fail(job, str(error), "", "diverged")
            return
        # Files first: if the tuner dies in between, the trial runs again and overwrites its folder.
        leading = self._is_leading(number, result)
        self._write(self.folder.write_trial, number, result, checkpoint=leading)
        if not self.scheduler.finish(number, result):
            self.folder.drop_trials([number])
            self._end(job, "another tuner took this one for dead and queued the trial again")
            return
        self._drop_checkpoints()
        self._recent_failures.append(False)
        if self._checks_noise and self.scheduler.ranked(number, result).feasible:
            self._noise_stopper.add(number, result)
            self._check_noise()
        self._end(job, result)

    def _fail(self, job: Job, reason: str, traceback: str, kind: Kind) -> None:
        self._write(self.folder.write_failure, job.number, job.config, reason, traceback)
        retried = self.scheduler.fail(job.number, reason, kind)
        self._failures[reason] += 1
        self._recent_failures.append(True)
        self._end(job, f"{reason}; it will run again" if retried else reason)

    def _end(self, job: Job, outcome: TrialResult | str) -> None:
        del self._jobs[job.number]
        self._started.pop(job.number, None)
        self._overdue.discard(job.number)
        progress = self._progress
        for callback in self.callbacks:
            callback.on_trial_end(job, outcome, progress)

    @property
    def _checks_noise(self) -> bool:
        """Only accuracies have an interval, and the trials of a confirmation differ in their split."""
        return self.scheduler.metric == "accuracy" and not self.stopping.queued_only

    def _check_noise(self) -> None:
        if self.stopping.stop_when_noise and not self._noise:
            self._noise = self._noise_stopper.reason_to_stop()

    @property
    def _progress(self) -> StudyProgress:
        certainty, metric = self._noise_stopper.certainty(), self.scheduler.metric
        return self.scheduler.tally.progress._replace(certainty=certainty, metric=metric)

    def _reclaim(self) -> None:
        self.folder.drop_trials(self.scheduler.reclaim())
        self._reclaimed = time.monotonic()

    def _kill_overdue(self) -> None:
        limit = self.stopping.trial_seconds
        for number, started in self._started.items():
            if limit is not None and time.monotonic() - started > limit and number not in self._overdue:
                self._overdue.add(number)
                self.executor.kill(number)

    def _message(self, line: str) -> None:
        for callback in self.callbacks:
            callback.on_message(line)

    def _write(self, write: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Write files; on a full disk wait for space, so that a finished training is not lost.

        Raises:
            StudyError: when the user stops the run during the wait, or the folder cannot be written.
        """
        announced = False
        while True:
            try:
                return write(*args, **kwargs)
            except OSError as error:
                if error.errno not in _DISK_FULL:
                    raise StudyError(
                        f"cannot write {error.filename or self.folder.trials}: {error.strerror or error}; make it "
                        "writable and run the same command again, which continues the study"
                    ) from None
            if not announced:
                announced = True
                self._message(f"no space left for {self.folder.path}: free some, and the study continues by itself")
            if self.interrupt.wait(_DISK_SECONDS):
                raise StudyError(f"no space left for {self.folder.path}: free some, then run the same command again")

    def _drop_checkpoints(self) -> None:
        best = self.scheduler.tally.ranking[: self.stopping.checkpoints]
        self.folder.keep_checkpoints([ranked.number for ranked in best])

    def _is_leading(self, number: int, result: TrialResult) -> bool:
        """Return whether a trial will be among the best trials, whose checkpoints are kept."""
        if result.ending == "pruned":
            return False
        best = self.scheduler.tally.ranking[: self.stopping.checkpoints]
        rank_key = self.scheduler.ranked(number, result).rank_key
        return sum(ranked.rank_key < rank_key for ranked in best) < self.stopping.checkpoints
