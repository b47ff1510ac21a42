"""The conductor: the only room that talks to the Optuna study.

It asks for trials, takes in what they report, finishes or fails them, and gives back to the queue what a dead
driver left behind. Optuna's own states are the truth: COMPLETE, PRUNED or FAIL; a crash is never a score.
"""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from drft.config.trial_config import Metric
from drft.errors import TrainingError
from drft.training.records import EpochRecord, TrialResult
from study.executors.base import Job, Kind
from study.results.epochs import pack
from study.results.progress import RankedTrial
from study.results.study_metadata import StudyMetadata, open_study, record_metadata
from study.space.seeds import is_control, trial_seed
from study.space.suggester import Suggester
from study.storage import heartbeat as owner
from study.storage.backend import GoalReachedError, Storage
from study.storage.cached_storage import CachedStorage
from study.storage.open import spans_machines
from study.storage.reconnect import Reconnect
from study.tuner.progress_tally import ProgressTally
from study.tuner.retry import another_try, carried_over, config_changes
from study.tuner.running_trial import RunningTrial

_UNOWNED_GRACE = timedelta(seconds=60)
"""A trial gets its owner right after its birth; one without for so long belongs to a driver that died between."""


class TrialScheduler(ProgressTally):
    """Leads the trials of one study."""

    def __init__(
        self,
        metadata: StudyMetadata,
        space: Suggester,
        storage: Storage,
        sampler: BaseSampler,
        pruner: BasePruner,
        max_retries: int = 0,
        patiently: Reconnect | None = None,
    ) -> None:
        """Create the study, or load it to go on with it.

        Args:
            metadata: what the study is about.
            space: suggests configurations.
            storage: where the study is kept.
            sampler: what draws their values.
            pruner: what ends weak trials early.
            max_retries: how often a failed trial is run again.
            patiently: does what may find the storage away.

        Raises:
            StudyError: when a study of that name exists that is not this one.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        wait = patiently or Reconnect()
        self._metadata = metadata
        self._space = space
        ledger = CachedStorage(storage, wait(lambda: open_study(metadata, storage)), wait)
        study = optuna.load_study(study_name=metadata.name, storage=ledger, sampler=sampler, pruner=pruner)
        super().__init__(study, ledger)
        self._max_retries = max_retries
        self._owner = owner.this_process()
        self._beats = owner.Heartbeats()
        # Drivers on one machine know from the processes themselves whether they live.
        self._beating = spans_machines(storage)
        self._next_beat = 0.0
        self._running: dict[int, RunningTrial] = {}
        record_metadata(metadata, study)

    def ask(self, limit: int | None = None) -> Job | None:
        """Start the next trial: one that waits in the queue first, then one from the sampler.

        Returns:
            The job; None when ``limit`` trials of the study are finished or under way, with whichever driver.
        """
        self._ledger.refresh()
        self._ledger.limit = limit
        try:
            with self._ledger.together():
                return self._ask()
        except GoalReachedError:
            return None

    def _ask(self) -> Job:
        trial = self._study.ask()
        known = self._trial(trial.number).user_attrs
        seed = known.get("seed", trial_seed(self._metadata.seed, trial.number))
        control = known.get("control", is_control(self._metadata.seed, trial.number))
        self._note(trial.number, owner=self._owner)
        try:
            config = self._space.suggest(trial).model_copy(update={"seed": seed, **config_changes(known)})
        except Exception as error:
            self._end_as_failed(trial.number, str(error))
            raise
        self._note(trial.number, seed=seed, control=control, depth=config.depth, config=config.model_dump_json())
        self._running[trial.number] = RunningTrial(trial, config, control)
        return Job(trial.number, config)

    def enqueue(self, **attributes: Any) -> None:
        """Queue a trial that begins with these user attributes; the space knows what they stand for."""
        self._study.enqueue_trial({}, user_attrs=attributes)

    def started(self, number: int, worker: str, device: str) -> None:
        """Note where a trial runs."""
        self._note(number, worker=worker, device=device)

    def report(self, number: int, record: EpochRecord) -> bool:
        """Take in one epoch and return whether the trial shall keep on.

        Optuna gets the best score so far, so that noise does not prune an early peak, or that of each fold
        (``RunningTrial.take_in``); the records are kept whole, and are written when the trial ends. Of a trial whose
        driver is killed, the scores reported to Optuna remain.
        """
        running = self._running[number]
        score = record.score(self._metadata.metric)
        told = running.take_in(record, score)
        if not math.isfinite(score):
            running.fault = f"validation {self._metadata.metric} became {score} at step {record.step}"
            return False
        if told is None:
            return True
        step, best = told
        with self._ledger.together():
            running.trial.report(best, step)
            return not self._prunes(running, step)

    def check(self, number: int, result: TrialResult) -> None:
        """Refuse a result that is no result.

        Raises:
            TrainingError: when a score of it was not a number.
        """
        fault = self._running[number].fault
        if fault or not math.isfinite(result.best.score(self._metadata.metric)):
            raise TrainingError(fault or f"the best validation {self._metadata.metric} is not a number")

    def finish(self, number: int, result: TrialResult) -> bool:
        """End a trial as COMPLETE, or as PRUNED when it was told to stop.

        Returns:
            False when another driver took this one for dead and queued the trial again; the result is no one's then.
        """
        try:
            self._finish(number, result)
        except UpdateFinishedTrialError:
            return False
        finally:
            del self._running[number]
        return True

    def _finish(self, number: int, result: TrialResult) -> None:
        pruned = result.ending == "pruned"
        with self._ledger.together():
            self._note(
                number,
                epochs=pack(result.records),
                depth_fraction=result.depth_fraction,
                trainable_fraction=result.trainable_fraction,
                best_step=result.best.step,
                ending=result.ending,
                seconds=result.seconds,
                **({"folds": result.folds} if result.folds else {}),
            )
            if self._metadata.max_gap is not None:
                self._running[number].trial.set_constraint("gap", result.best.gap - self._metadata.max_gap)
            self._study.tell(
                number,
                None if pruned else result.best.score(self._metadata.metric),
                state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
            )

    def ranked(self, number: int, result: TrialResult) -> RankedTrial:
        """Return how a trial will be ranked that ran to its end."""
        limit = self._metadata.max_gap
        feasible = limit is None or result.best.gap <= limit
        return RankedTrial(number, result.best.score(self._metadata.metric), feasible)

    def fail(self, number: int, reason: str, kind: Kind = "error") -> bool:
        """End a trial as FAIL, with the reason; queue it again where that can help and tries are left.

        Returns:
            Whether it will be run again.
        """
        running, trial = self._running[number], self._trial(number)
        again = another_try(running.config, trial.user_attrs, kind, self._max_retries)
        with self._ending():
            if again is not None:
                self._queue_again(trial, **again)
            self._note(number, fail_kind=kind)
            self._end_as_failed(number, reason, running.records)
        del self._running[number]
        return again is not None

    def interrupt(self, reason: str) -> list[int]:
        """Fail all running trials of this driver and queue them again; return their numbers."""
        numbers = sorted(self._running)
        for number in numbers:
            with self._ending():
                self._queue_again(self._trial(number))
                self._note(number, requeued=True)
                self._end_as_failed(number, reason, self._running[number].records)
            del self._running[number]
        return numbers

    def reclaim(self) -> list[int]:
        """Fail the running trials of dead drivers and queue them again with the same parameters.

        Returns:
            The numbers of the trials that were failed.
        """
        self.beat()
        self._beats.look(self._study.user_attrs)
        dead = [trial for trial in self.trials(TrialState.RUNNING) if self._is_abandoned(trial)]
        for trial in dead:
            with self._ending():
                self._queue_again(trial)
                self._note(trial.number, requeued=True)
                self._end_as_failed(trial.number, "its driver died")
        return [trial.number for trial in dead]

    def beat(self) -> None:
        """Say now and then, where drivers on other machines can see it, that this one lives."""
        if self._beating and time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + owner.BEAT_SECONDS
            self._study.set_user_attr(owner.beat_attribute(self._owner), time.time())

    @property
    def running(self) -> int:
        """How many trials of this driver are under way."""
        return len(self._running)

    @property
    def metric(self) -> Metric:
        """The validation score that is maximized."""
        return self._metadata.metric

    def _prunes(self, running: RunningTrial, step: int) -> bool:
        if not running.prunable_at(step):
            return False
        # The control arm is asked about too: the pruner learns its rungs, and the audit what would have been.
        prunes = running.trial.should_prune()
        if prunes and running.control and not running.would_prune:
            running.would_prune = True
            self._note(running.trial.number, would_prune=step)
        return prunes and not running.control

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        tag = trial.user_attrs.get("owner")
        if tag is not None:
            return trial.number not in self._running if tag == self._owner else not self._beats.is_alive(tag)
        started = trial.datetime_start
        return started is None or datetime.now() - started > _UNOWNED_GRACE  # noqa: DTZ005 (Optuna's times are naive)

    def _queue_again(self, trial: FrozenTrial, **changed: int) -> None:
        """Give a trial back to the queue, with the same parameters, unless another driver did.

        That one may have died between the queueing and the failing, or have taken this one for dead.
        """
        if any(other.user_attrs.get("retry_of") == trial.number for other in self.trials()):
            return
        attributes = carried_over(trial.number, trial.user_attrs)
        self._study.enqueue_trial(trial.params, user_attrs=attributes | changed)

    def _end_as_failed(self, number: int, reason: str, records: Sequence[EpochRecord] = ()) -> None:
        with self._ending():
            self._note(number, fail_reason=reason, **({"epochs": pack(records)} if records else {}))
            self._study.tell(number, state=TrialState.FAIL)

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """Write together; a trial that another driver has ended, which took this one for dead, stays as it is."""
        with contextlib.suppress(UpdateFinishedTrialError), self._ledger.together():
            yield

    def _note(self, number: int, **attributes: Any) -> None:
        trial_id = self._trial(number)._trial_id
        with self._ledger.together():
            for name, value in attributes.items():
                self._ledger.set_trial_user_attr(trial_id, name, value)
