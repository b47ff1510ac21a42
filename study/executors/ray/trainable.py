"""The trainable of Ray Tune: an actor on some node of a cluster, with a local executor of one worker.

Trainings run in that worker and not in the actor. However a training ends, the actor reports it, starts a successor of
the worker if necessary, and still answers. Threads, memory settings, output and Ctrl-C are handled as on one machine.
"""

import os
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune

from drft.config.trial_config import TrialConfig, with_values
from drft.errors import DrftError, UsageError
from study.executors.base import Event, Finished, Job, Reported, Started, Workload
from study.executors.local.executor import LocalExecutor
from study.executors.ray.cluster import Cluster
from study.executors.ray.files import ShippedFiles, bring
from study.executors.ray.metrics import logged_metrics
from study.executors.resources import Slot

_PATIENCE = 2.0
"""Seconds that an actor waits for a training to start. Then it returns, so that other calls get their turn."""

_FIRST_EPOCH = 0.05
"""Seconds after its start in which an epoch is reported together with it: each step costs Tune about 10 ms."""


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """What happened during one step, for the executor. Tune's loggers do not see it.

    Tune formats every result for its own log: without a ``repr``, it does not format predictions.
    """

    name: str
    """The actor's name for the user."""
    node: str
    """Ray's id of the actor's node."""
    actor: Any = None
    """The actor, in its first report alone: sending a handle takes time."""
    events: Sequence[Event] = ()
    fault: str = ""
    """Why the worker cannot start; it is not tried again."""
    usage: UsageError | None = None
    """The fault, if the user can remove it."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What every actor needs."""

    workload: Workload
    shipped: ShippedFiles
    """Files that the trainings need, and that the actor's node may lack."""
    cluster: Cluster
    jobs: int | None
    """Trials at once in all; None for as many as fit on the nodes."""
    threads: int
    """CPU threads of a training."""
    log: Path | None
    """File for the output of workers on the tuner's node."""
    node: str
    """The tuner's node, which has all files."""


def as_tune_config(job: Job) -> dict[str, Any]:
    """Return a job as the configuration of a Tune trial."""
    return {"number": job.number, "training": job.config.model_dump(mode="json")}


class Training(tune.Trainable):
    """One training after the other. Ray runs one call at a time."""

    def __init__(self, config: dict[str, Any], storage: Any = None) -> None:
        """Keep the working folder: paths of weights and of the cache may be relative."""
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
        super().__init__(config, storage)

    def setup(self, config: dict[str, Any], setup: Setup | None = None) -> None:
        """Start the worker, with files that the node lacks. If that fails, the first step says why.

        Args:
            config: that of the first trial, as from :func:`as_tune_config`.
            setup: what every actor needs.
        """
        assert setup is not None
        tempfile.tempdir = setup.cluster.scratch
        context = ray.get_runtime_context()
        node = context.get_node_id()
        self._name = f"ray-{socket.gethostname()}-{node[:6]}-{os.getpid()}"
        self._report = partial(Report, self._name, node)
        self._actor: Any = context.current_actor
        """Until it is reported."""
        self._executor: LocalExecutor | None = None
        self._failure: Exception | None = None
        self._weights: dict[str, str] = {}
        """Weight files on this node, by their names in configurations."""
        try:
            self._executor = self._start(setup, node)
        except (DrftError, OSError) as error:
            self._failure = error
        self.reset_config(config)

    def _start(self, setup: Setup, node: str) -> LocalExecutor:
        cache_dir = setup.workload.cache_dir
        for file in setup.shipped.images:
            bring(file, setup.node, cache_dir)
        self._weights = {name: str(bring(file, setup.node, cache_dir)) for name, file in setup.shipped.weights.items()}
        at_once = setup.cluster.fits_on(node)
        workload = replace(setup.workload, workers=min(at_once, setup.jobs or at_once))
        gpu = os.environ["CUDA_VISIBLE_DEVICES"] if ray.get_gpu_ids() else None
        log = setup.log if node == setup.node else None
        return LocalExecutor(workload, [Slot(self._name, gpu, setup.threads)], log).__enter__()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial."""
        self._job = Job(new_config["number"], TrialConfig.model_validate(new_config["training"]))
        self._submitted = self._started = self._reported = False
        self._keep_on = True
        return True

    def step(self) -> dict[str, Any]:
        """Continue to the start of the training, its next epoch or its end; return the metrics and a ``Report``."""
        report = partial(self._report, actor=self._actor)
        self._actor = None
        try:
            if self._failure is not None:
                raise self._failure
            assert self._executor is not None
            events = self._continue(self._executor)
        except (DrftError, OSError) as error:
            usage = error if isinstance(error, UsageError) else None
            return {"epoch": 0, "report": report(fault=str(error), usage=usage)}
        records = [event.record for event in events if isinstance(event, Reported)]
        metrics = logged_metrics(records[-1], self._job.config.metric) if records else {"epoch": 0}
        return {**metrics, "report": report(events=events)}

    def refuse(self) -> None:
        """Answer no to the epoch that was just reported; the next step ends the training."""
        self._keep_on = False

    def _continue(self, executor: LocalExecutor) -> Sequence[Event]:
        if not self._submitted:
            weights = self._job.config.backbone.weights
            own_path = {"backbone.weights": self._weights.get(weights, weights)}
            executor.submit(replace(self._job, config=with_values(self._job.config, own_path)))
            self._submitted = True
        elif self._reported:
            executor.answer(self._job.number, keep_on=self._keep_on)
        events = self._wait(executor, None if self._started else _PATIENCE)
        if events and isinstance(events[-1], Started):
            events = [*events, *self._wait(executor, _FIRST_EPOCH)]
        self._started |= any(isinstance(event, Started) for event in events)
        self._reported = bool(events) and isinstance(events[-1], Reported)
        return events

    def _wait(self, executor: LocalExecutor, patience: float | None) -> Sequence[Event]:
        deadline = None if patience is None else time.monotonic() + patience
        events: Sequence[Event] = ()
        while not events and (deadline is None or time.monotonic() < deadline):
            events = executor.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return [self._with_config_of_job(event) for event in events]

    def _with_config_of_job(self, event: Event) -> Event:
        """Return the event with the path that the weights have on the tuner's machine."""
        if isinstance(event, Finished) and self._weights:
            return replace(event, result=replace(event.result, config=self._job.config))
        return event

    def cleanup(self) -> None:
        """End the worker."""
        if self._executor is not None:
            self._executor.__exit__()
