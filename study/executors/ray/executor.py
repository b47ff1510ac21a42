"""The Ray executor: Ray Tune places the trainings on the nodes of a cluster.

``Tuner.fit`` runs in a thread beside the tuner's loop. Tune's searcher hands out the jobs that the loop submits, and
Tune's trial scheduler passes every result to the loop and returns its answer. What counts stands in the study: Tune
sees a training that was pruned or has failed as one that ended.

Tune places the trainings, and starts and reuses their actors. What it lacks is here:

- the number of places, since the tuner asks for as many trials and no more (``slots``);
- the next training for an actor that is free, where Tune would end the actor (``for_free_actor``);
- another try for a job that never began: those of Tune would train again what the study counts as failed (``lose``);
- the end of a place whose worker cannot start, such as one with a broken GPU (``_retire``);
- another start of Tune where it ends by an error of its own (``_run_tune``).
"""

import logging
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from drft.errors import DrftError
from study.executors.base import Event, Failed, Finished, Job, Reported, Started, WorkerLost, Workload
from study.executors.local.process import set_environment
from study.executors.ray.cluster import Cluster
from study.executors.ray.files import ShippedFiles
from study.executors.ray.metrics import HideReports, JsonOfEpochs, TensorBoardOfEpochs
from study.executors.ray.trainable import Report, Setup, Training, as_tune_config
from study.executors.resources import thread_limit

SETTINGS: Mapping[str, str] = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "1000000",
}
"""Environment variables for Tune: it prints nothing, and writes the files that are asked for."""

_NEVER = {"TUNE_GLOBAL_CHECKPOINT_S": "1000000"}
"""Without a folder, Tune keeps no copy of its state."""

_GRACE = 60.0
"""Seconds that Tune has to end its actors and to copy its files."""

_FAILED_STARTS = 3
"""Before a worker was ever ready, so many actors in a row that cannot start end the study."""

_FITS = 3
"""Tune is started so often: it ends where memory or disk run out on a node, and its trainings are lost."""

_LOST_STARTS = 3
"""A job that is lost more often than this before it starts has failed."""

_CAPACITY_SECONDS = 5.0
"""Seconds between two looks at how much room the nodes have."""

_HEAD_SECONDS = 20.0
"""A head that cannot be reached for so long ends the run. After 60 seconds Ray would end the process."""

_TURN = 1.0
"""Seconds that Tune waits, at the end of a training, for the next job: an actor that has none is ended."""

_MOST_PENDING = 10_000
"""Trials that Tune may place at once. Without a limit of ours it would start one actor after the other."""


@dataclass(slots=True)
class _Run:
    """A job that Tune has taken."""

    job: Job
    actor: Any = None
    worker: str = "a worker"
    started: bool = False
    killed: bool = False


class RayExecutor:
    """Runs jobs as trials of Ray Tune.

    A job that has not started when its actor is lost is handed out again. A lost actor gets a successor, which Ray
    places where there is room; until there is, the others continue. While a report waits for its answer, Tune does
    nothing else: answer at once.
    """

    def __init__(
        self,
        workload: Workload,
        cluster: Cluster,
        *,
        jobs: int | None = None,
        shipped: ShippedFiles = ShippedFiles(),  # noqa: B008 (frozen)
        log: Path | None = None,
        folder: Path | None = None,
    ) -> None:
        """Prepare; Tune starts with the ``with`` block.

        Args:
            workload: what every worker needs.
            cluster: the cluster to use.
            jobs: number of slots; by default what fits on the nodes, and more when nodes join.
            shipped: files that nodes may lack.
            log: file for the output of workers on this machine; the output of others is discarded.
            folder: Tune writes the metrics of each trial to its folder ``ray``, as JSON and for TensorBoard; None for
                nowhere.
        """
        workload = replace(workload, dataset=shipped.dataset, trials_per_gpu=cluster.share.trials_per_gpu)
        self._setup = Setup(
            workload,
            shipped,
            cluster,
            jobs,
            thread_limit(int(cluster.share.cpus)),
            log,
            ray.get_runtime_context().get_node_id(),
        )
        self._cluster = cluster
        self._jobs = jobs
        self._folder = folder
        self._capacity = jobs or cluster.capacity()
        self._looked = self._reached = time.monotonic()
        self._any_ready = False
        """Whether a worker was ever ready. If so, the workload works, and workers that cannot start may be unlucky."""
        self._actors: dict[str, Any] = {}
        """By name, for calls beside those of Tune."""
        self._retired: list[str] = []
        """The nodes of broken places."""
        self._lost_starts: dict[int, int] = {}
        self._failed_starts = 0
        """Actors in a row that were lost before they could say anything."""
        self._free = 0
        """Actors whose training has ended, and that have no other yet."""
        self._added: list[Any] = []
        """Tune's trials since it has last asked which one to start."""

        self._thread = threading.Thread(target=self._run_tune, name="ray-tune", daemon=True)
        self._changed = threading.Condition()
        """Held while what follows is read or written; notified when it has changed."""
        self._waiting: deque[Job] = deque()
        self._runs: dict[str, _Run] = {}
        """Jobs that Tune has taken and that have not ended, by Tune's ids of trials."""
        self._events: list[Event] = []
        self._answers: dict[int, bool] = {}
        self._error: Exception | None = None
        self._listening = self._closing = False

    @property
    def slots(self) -> int:
        """How many jobs can run at once."""
        if time.monotonic() - self._looked > _CAPACITY_SECONDS:
            if self._cluster.head_answers():
                self._retired = self._cluster.still_there(self._retired)
                self._capacity, self._reached = self._jobs or self._cluster.capacity(), time.monotonic()
            elif time.monotonic() - self._reached > _HEAD_SECONDS:
                fault = f"the head of the Ray cluster, {self._cluster.head}, cannot be reached any more"
                self._error = DrftError(f"{fault}: start the cluster and run the command again")
            self._looked = time.monotonic()
        return max(1, self._capacity - len(self._retired))

    def submit(self, job: Job) -> None:
        """Give a job to Tune, which places it as soon as there is room."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify_all()

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """Return all events, after waiting up to ``timeout`` seconds for the first.

        Raises:
            UsageError: when no worker can start, for a reason that the user can fix.
            DrftError: when no worker can start.
        """
        with self._changed:
            self._listening = True
            self._changed.notify_all()
            try:
                self._changed.wait_for(
                    lambda: self._events or self._error or (timeout is None and not self._waiting and not self._runs),
                    timeout,
                )
            finally:
                self._listening = False
            events, self._events = self._events, []
            if not events and self._error is not None:
                raise self._error
        return events

    def answer(self, number: int, *, keep_on: bool) -> None:
        """Answer the last report of a job."""
        with self._changed:
            self._answers[number] = keep_on
            self._changed.notify_all()

    def kill(self, number: int) -> None:
        """Kill the actor of a job with its worker; a successor takes its place."""
        with self._changed:
            for job in [job for job in self._waiting if job.number == number]:
                self._waiting.remove(job)
                self._events.append(Failed(number, "killed before it began", kind="lost"))
            for trial_id, run in [(key, run) for key, run in self._runs.items() if run.job.number == number]:
                if run.actor is None:  # it waits for a place, or its actor starts
                    del self._runs[trial_id]
                    self._events.append(Failed(number, "killed before it began", kind="lost"))
                else:
                    run.killed = True
                    ray.kill(run.actor)
            self._changed.notify_all()

    # What follows is called by Tune, in its thread.

    def next_job(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next job as the configuration of a Tune trial; None if there is none, ``FINISHED`` at the end."""
        with self._changed:
            if not self._runs:  # Tune has nothing else to do, and would look again after a second
                self._changed.wait_for(lambda: self._waiting or self._closing, _TURN)
            if self._closing:
                return str(Searcher.FINISHED)
            if not self._waiting:
                return None
            job = self._waiting.popleft()
            self._runs[trial_id] = _Run(job)
        return as_tune_config(job)

    def process(self, trial_id: str, report: Report) -> str:
        """Pass the report of a trial's step to the tuner; return what Tune is to do with the trial."""
        if report.actor is not None:
            self._actors[report.name] = report.actor
        actor = self._actors[report.name]
        with self._changed:
            run = self._runs.get(trial_id)
            if self._closing:
                return str(TrialScheduler.STOP)
            if run is None:  # its training was killed before the actor was known
                ray.kill(actor)
                return str(TrialScheduler.CONTINUE)
            run.actor, run.worker = actor, f"worker {report.name}"
        if report.fault:
            return self._retire(trial_id, run, report)
        run.started |= any(isinstance(event, Started) for event in report.events)
        self._any_ready |= run.started
        keep_on = self._deliver(trial_id, run, report.events)
        if keep_on is False:
            actor.refuse.remote()
        if trial_id in self._runs:
            return str(TrialScheduler.CONTINUE)
        self._free += 1
        return str(TrialScheduler.STOP)

    def add(self, trial: Any) -> None:
        """Keep a trial that Tune has made of a job."""
        self._added.append(trial)

    def for_free_actor(self) -> Any:
        """Return the trial that is to have an actor that is free; None if there is no new one.

        Tune would give it to the trial that waits longest, and end the actor that it starts for that one: where
        trainings are shorter than the start of an actor, there would never be a second one.
        """
        added, self._added = self._added, []
        if not self._free or not added:
            return None
        self._free -= 1
        return added[-1]

    def lose(self, trial_id: str, error: str) -> None:
        """A trial has lost its actor. A job that had not started is handed out again; any other job has failed."""
        with self._changed:
            run = self._runs.pop(trial_id, None)
            if run is None or self._closing:
                return
            self._failed_starts = self._failed_starts + 1 if run.actor is None else 0
            if self._failed_starts >= _FAILED_STARTS and not self._any_ready:
                self._error = DrftError(f"workers cannot start: {_last_line(error)}")
            reason = f"{run.worker} {'was killed' if run.killed else 'was lost with its actor or node'}"
            if run.started or run.killed:
                self._events.append(Failed(run.job.number, reason, error, kind="lost"))
            else:
                self._hand_out_again(run.job, reason)
            self._changed.notify_all()

    @property
    def closing(self) -> bool:
        """Whether Tune is to stop all trials."""
        return self._closing

    def _deliver(self, trial_id: str, run: _Run, events: Sequence[Event]) -> bool | None:
        """Pass events to the tuner. Returns its answer to a report; None if there was none, or no answer."""
        with self._changed:
            self._answers.pop(run.job.number, None)  # to an earlier report, whose training was killed
            self._events += events
            self._changed.notify_all()
            if any(isinstance(event, Finished | Failed) for event in events):
                self._runs.pop(trial_id, None)
                # Tune ends an actor for which it has no trial: wait until the tuner has submitted the next job.
                self._changed.wait_for(lambda: self._closing or (self._listening and not self._events), _TURN)
            elif events and isinstance(events[-1], Reported):
                number = run.job.number
                self._changed.wait_for(lambda: number in self._answers or run.killed or self._closing)
                return self._answers.pop(number, None)
        return None

    def _retire(self, trial_id: str, run: _Run, report: Report) -> str:
        """Continue without an actor whose worker cannot start, such as one on a broken GPU, if others are left.

        Its trial keeps its place: Tune would put the next one there.
        """
        with self._changed:
            if report.usage or not self._any_ready or self.slots == 1:
                self._error = report.usage or DrftError(report.fault)
            else:
                self._retired.append(report.node)
                del self._runs[trial_id]
                self._events.append(WorkerLost(report.name, report.fault))
                self._hand_out_again(run.job, report.fault)
            self._changed.notify_all()
        return str(TrialScheduler.NOOP)

    def _hand_out_again(self, job: Job, reason: str) -> None:
        self._lost_starts[job.number] = self._lost_starts.get(job.number, 0) + 1
        if self._lost_starts[job.number] > _LOST_STARTS:
            self._events.append(Failed(job.number, reason, kind="lost"))
        else:
            self._waiting.appendleft(job)

    def _run_tune(self) -> None:
        for _ in range(_FITS):
            try:
                self._fit()
            except Exception as error:  # noqa: BLE001 (the tuner raises the last one)
                with self._changed:
                    ended = DrftError(f"Ray Tune ended: {type(error).__name__}: {_last_line(str(error))}")
                    for trial_id in list(self._runs):
                        self.lose(trial_id, str(error))
            else:
                return
        with self._changed:
            self._error = ended
            self._changed.notify_all()

    def _fit(self) -> None:
        with tempfile.TemporaryDirectory() as temporary, set_environment(SETTINGS):
            share = self._cluster.share
            loggers: Sequence[Any] = (JsonOfEpochs, TensorBoardOfEpochs) if self._folder else ()
            bundle = {"CPU": share.cpus, **({"GPU": share.gpus} if share.gpus else {})}
            training = tune.with_resources(
                tune.with_parameters(Training, setup=self._setup),
                tune.PlacementGroupFactory([bundle]),
            )
            training.__qualname__ = Training.__name__  # ``ray list actors`` shows it
            tuner = tune.Tuner(
                training,
                tune_config=tune.TuneConfig(
                    search_alg=_Jobs(self),
                    scheduler=_Answers(self),
                    num_samples=-1,
                    max_concurrent_trials=_MOST_PENDING,
                    reuse_actors=True,
                    trial_name_creator=_name,
                    trial_dirname_creator=_name,
                ),
                run_config=tune.RunConfig(
                    name="ray",
                    storage_path=str(self._folder or temporary),
                    stop=_AtTheEnd(self),
                    callbacks=[HideReports(), *(logger() for logger in loggers)],
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=0),  # the tuner repeats what has failed
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            )
            with set_environment({} if self._folder else _NEVER):
                tuner.fit()

    def __enter__(self) -> Self:
        logger = logging.getLogger("ray.tune")
        self._level = logger.level
        logger.setLevel(logging.CRITICAL)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        answers = self._cluster.head_answers()
        with self._changed:
            self._closing = True
            self._waiting.clear()
            for run in self._runs.values():
                if run.actor is not None and answers:
                    ray.kill(run.actor)
            self._changed.notify_all()
        deadline = time.monotonic() + _GRACE
        while self._thread.is_alive() and time.monotonic() < deadline and self._cluster.head_answers():
            self._thread.join(1.0)
        logging.getLogger("ray.tune").setLevel(self._level)


class _Held:
    """Part of Tune that refers to the executor. Tune pickles its parts for a later run, which there never is."""

    def __init__(self, executor: RayExecutor) -> None:
        super().__init__()
        self._executor = executor

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Jobs(_Held, Searcher):
    """Hands out jobs."""

    def suggest(self, trial_id: str) -> Any:
        return self._executor.next_job(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


class _Answers(_Held, FIFOScheduler):
    """Returns the tuner's answers."""

    _supports_buffered_results = False  # every epoch waits for its answer

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._executor.add(trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self._executor.process(trial.trial_id, result["report"])

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        file = Path(trial.error_file) if trial.error_file else None
        self._executor.lose(trial.trial_id, file.read_text() if file is not None and file.exists() else "")

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        return self._executor.for_free_actor()


class _AtTheEnd(_Held, tune.Stopper):
    """Stops all trials when the executor closes."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._executor.closing


def _last_line(error: str) -> str:
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason was given"


def _name(trial: Any) -> str:
    return f"trial_{trial.config['number']:04d}_{trial.trial_id[:4]}"
