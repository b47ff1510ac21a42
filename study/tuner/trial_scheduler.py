"""The trial scheduler: the only module that changes trials of the Optuna study.

It asks Optuna for trials, records what they report, ends them, and queues the trials of dead tuners again. Optuna's
states are the truth: COMPLETE, PRUNED or FAIL. A crash never becomes a score.
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
from study.results.planned_study import PLANNED
from study.results.progress import RankedTrial
from study.results.study_metadata import StudyMetadata, open_study, record_metadata
from study.space.seeds import block_split_seed, is_control, trial_seed
from study.space.suggester import Suggester
from study.storage.backend import GoalReachedError, Storage
from study.storage.cached_storage import CachedStorage
from study.storage.heartbeat import BEAT_SECONDS, Heartbeats, beat_attribute, this_process
from study.storage.open import spans_machines
from study.storage.reconnect import Reconnect
from study.tuner.progress_tally import ProgressTally
from study.tuner.retry import config_changes, copied_attributes, retry_attributes
from study.tuner.running_trial import RunningTrial

_OWNERLESS_SECONDS = 60.0
"""The owner is written right after a trial is created; a trial without one for so long lost its tuner in between."""


class TrialScheduler:
    """Starts, records and ends the trials of one study."""

    def __init__(
        self,
        metadata: StudyMetadata,
        space: Suggester,
        storage: Storage,
        sampler: BaseSampler,
        pruner: BasePruner,
        max_retries: int = 0,
        reconnect: Reconnect | None = None,
    ) -> None:
        """Create the study, or open it to resume it.

        Args:
            metadata: what is fixed for the whole study.
            space: suggests configurations.
            storage: holds the study.
            sampler: draws the parameters.
            pruner: ends weak trials early.
            max_retries: number of retries of a failed trial.
            reconnect: calls the storage again while it does not answer.

        Raises:
            StudyError: when another study has that name.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        reconnect = reconnect or Reconnect()
        self._metadata = metadata
        self._space = space
        self._study_id = reconnect(open_study, metadata, storage)
        self._storage = CachedStorage(storage, self._study_id, reconnect)
        self._study = optuna.load_study(study_name=metadata.name, storage=self._storage, sampler=sampler, pruner=pruner)
        self.tally = ProgressTally(self._study, self._storage)
        """Counts and ranking of all trials of the study."""
        self._max_retries = max_retries
        self._owner = this_process()
        self._heartbeats = Heartbeats()
        # Tuners on one machine look at each other's processes; only others need heartbeats.
        self._sends_heartbeats = spans_machines(storage)
        self._next_heartbeat = 0.0
        self._running: dict[int, RunningTrial] = {}
        if "trials_wanted" not in self._study.user_attrs:
            self.record_metadata()

    def record_metadata(self) -> StudyMetadata:
        """Record what this run asks for, and return what is recorded.

        It is not called for a run that starts no trial of a study that exists.
        """
        return record_metadata(self._metadata, self._study)

    @property
    def running(self) -> int:
        """Number of running trials of this tuner."""
        return len(self._running)

    @property
    def metric(self) -> Metric:
        """The validation score that is maximized."""
        return self._metadata.metric

    def ask(self, limit: int | None = None) -> Job | None:
        """Start the next trial: a queued one if there is one, else one from the sampler.

        Returns:
            The job; None when ``limit`` trials of the study are finished or running, those of other tuners included.
        """
        self._storage.refresh()
        self._storage.limit = limit
        try:
            with self._storage.batch():
                trial = self._study.ask()
                attributes = self._trial(trial.number).user_attrs
                seed = attributes.get("seed", trial_seed(self._metadata.seed, trial.number))
                control = attributes.get("control", is_control(self._metadata.seed, trial.number))
                self._set_attributes(trial.number, owner=self._owner)
                try:
                    config = self._space.suggest(trial)
                except Exception as error:
                    self._end_as_failed(trial.number, str(error))
                    raise
                config = config.model_copy(update={"seed": seed, **config_changes(attributes)})
                if self._metadata.goal == "depth" and self._metadata.sampler != PLANNED:
                    block = attributes.get("block", self._count_trials(config.depth))
                    seed_of_split = block_split_seed(self._metadata.seed, block)
                    split = config.split.model_copy(update={"seed": seed_of_split})
                    config = config.model_copy(update={"split": split})
                    self._set_attributes(trial.number, block=block)
                self._set_attributes(
                    trial.number,
                    seed=seed,
                    control=control,
                    sampler=attributes.get("sampler", self._metadata.sampler),
                    pruner=self._metadata.pruner,
                    depth=config.depth,
                    config=config.model_dump_json(),
                )
        except GoalReachedError:
            return None
        self._running[trial.number] = RunningTrial(trial, config, control)
        return Job(trial.number, config)

    def _count_trials(self, depth: int) -> int:
        """Return the number of trials at a depth so far; a trial and its retries count as one."""
        started = [trial.user_attrs for trial in self.tally.trials() if "depth" in trial.user_attrs]
        return sum(attributes["depth"] == depth and "retry_of" not in attributes for attributes in started)

    def enqueue(self, **attributes: Any) -> None:
        """Queue a trial that starts with these user attributes, which the space interprets."""
        self._study.enqueue_trial({}, user_attrs=attributes)

    def started(self, number: int, worker: str, device: str) -> None:
        """Record where a trial runs."""
        self._set_attributes(number, worker=worker, device=device)

    def report(self, number: int, record: EpochRecord) -> bool:
        """Record one epoch; return whether the trial shall continue.

        Optuna gets the best score so far, so that noise after an early peak does not prune a trial (with folds, see
        ``RunningTrial.add``). The records are written when the trial ends.
        """
        running = self._running[number]
        score = record.score(self._metadata.metric)
        reported = running.add(record, score)
        if not math.isfinite(score):
            running.error = f"validation {self._metadata.metric} became {score} in epoch {record.step}"
            return False
        if reported is None:
            return True
        step, best = reported
        with self._storage.batch():
            running.trial.report(best, step)
            if not running.prunable_at(step):
                return True
            # The control group asks the pruner too: the pruner learns from it, and the audit needs its answer.
            prune = running.trial.should_prune()
            if prune and running.control and not running.would_prune:
                running.would_prune = True
                self._set_attributes(number, would_prune=step)
            return not prune or running.control

    def check(self, number: int, result: TrialResult) -> None:
        """Refuse a result without a finite score.

        Raises:
            TrainingError: with the reason.
        """
        error = self._running[number].error
        if error or not math.isfinite(result.best.score(self._metadata.metric)):
            raise TrainingError(error or f"the best validation {self._metadata.metric} is not a number")

    def finish(self, number: int, result: TrialResult) -> bool:
        """End a trial as COMPLETE, or as PRUNED when it was told to stop.

        Returns:
            False when another tuner took this one for dead and queued the trial again; the result is then dropped.
        """
        running = self._running.pop(number)
        pruned = result.ending == "pruned"
        try:
            with self._storage.batch():
                self._set_attributes(
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
                    running.trial.set_constraint("gap", result.best.gap - self._metadata.max_gap)
                self._study.tell(
                    number,
                    None if pruned else result.best.score(self._metadata.metric),
                    state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
                )
        except UpdateFinishedTrialError:
            return False
        return True

    def ranked(self, number: int, result: TrialResult) -> RankedTrial:
        """Return how a trial ranks once it is finished."""
        limit = self._metadata.max_gap
        feasible = limit is None or result.best.gap <= limit
        return RankedTrial(number, result.best.score(self._metadata.metric), feasible)

    def fail(self, number: int, reason: str, kind: Kind = "error") -> bool:
        """End a trial as FAIL with the reason; queue a retry if one can help and retries are left.

        Returns:
            Whether a retry is queued.
        """
        running, trial = self._running.pop(number), self._trial(number)
        changes = retry_attributes(running.config, trial.user_attrs, kind, self._max_retries)
        with self._ending():
            if changes is not None:
                self._queue_again(trial, changes)
            self._set_attributes(number, fail_kind=kind)
            self._end_as_failed(number, reason, running.records)
        return changes is not None

    def interrupt(self, reason: str) -> list[int]:
        """End all running trials of this tuner as FAIL and queue them again; return their numbers."""
        numbers = sorted(self._running)
        for number in numbers:
            self._requeue(self._trial(number), reason, self._running.pop(number).records)
        return numbers

    def reclaim(self) -> list[int]:
        """End the running trials of dead tuners as FAIL and queue them again with the same parameters.

        Returns:
            The numbers of these trials.
        """
        self.send_heartbeat()
        self._heartbeats.update(self._study.user_attrs)
        abandoned = [trial for trial in self.tally.trials(TrialState.RUNNING) if self._is_abandoned(trial)]
        for trial in abandoned:
            self._requeue(trial, "its tuner died")
        return [trial.number for trial in abandoned]

    def send_heartbeat(self) -> None:
        """Tell tuners on other machines every few seconds that this one is alive."""
        if self._sends_heartbeats and time.monotonic() >= self._next_heartbeat:
            self._next_heartbeat = time.monotonic() + BEAT_SECONDS
            self._study.set_user_attr(beat_attribute(self._owner), time.time())

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        owner = trial.user_attrs.get("owner")
        if owner is not None:
            return trial.number not in self._running if owner == self._owner else not self._heartbeats.is_alive(owner)
        started, grace = trial.datetime_start, timedelta(seconds=_OWNERLESS_SECONDS)
        return started is None or datetime.now() - started > grace  # noqa: DTZ005 (Optuna's times are naive)

    def _requeue(self, trial: FrozenTrial, reason: str, records: Sequence[EpochRecord] = ()) -> None:
        with self._ending():
            self._queue_again(trial, {})
            self._set_attributes(trial.number, requeued=True)
            self._end_as_failed(trial.number, reason, records)

    def _queue_again(self, trial: FrozenTrial, changes: dict[str, int]) -> None:
        """Queue a trial with the same parameters, unless another tuner did.

        That tuner may have died before it ended the trial, or it may have taken this one for dead.
        """
        if any(other.user_attrs.get("retry_of") == trial.number for other in self.tally.trials()):
            return
        attributes = copied_attributes(trial.number, trial.user_attrs)
        self._study.enqueue_trial(trial.params, user_attrs=attributes | changes)

    def _end_as_failed(self, number: int, reason: str, records: Sequence[EpochRecord] = ()) -> None:
        with self._ending():
            self._set_attributes(number, fail_reason=reason, **({"epochs": pack(records)} if records else {}))
            self._study.tell(number, state=TrialState.FAIL)

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """Write at once; leave a trial as it is that another tuner ended because it took this one for dead."""
        with contextlib.suppress(UpdateFinishedTrialError), self._storage.batch():
            yield

    def _set_attributes(self, number: int, **attributes: Any) -> None:
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        with self._storage.batch():
            for name, value in attributes.items():
                self._storage.set_trial_user_attr(trial_id, name, value)

    def _trial(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number))
