"""A trainable of Ray Tune: one two-phase training for each configuration, one step for each epoch.

The training runs in a worker process of the trial's actor, as in a study. An actor that Tune uses again
(``TuneConfig(reuse_actors=True)``) keeps that process, with its decoded images, networks and cached activations.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.result import DONE, SHOULD_CHECKPOINT

from drft.data import open_dataset
from drft.errors import TrainingError, UsageError
from drft.files.atomic import default_cache_dir
from drft.training.records import EpochRecord, TrialResult, best_record
from study.executors import Failed, Finished, Job, LocalExecutor, Reported, Slot, Workload
from study.executors.ray.cluster import TrialResources
from study.executors.ray.metrics import epoch_metrics
from study.executors.resources import cores, thread_limit
from study.results.study_folder import StudyFolder
from study.setup.plan import check_classes, decode
from study.space import BoundSpace
from study.tune.configs import bind_space, config_of, run_options


def trainable(
    space: str | Mapping[str, Any] = "default", data: str = "synthetic", **options: Any
) -> type[tune.Trainable]:
    """Return a trainable for ``ray.tune.Tuner``; the data are read and the images decoded now.

    Its configurations hold a value for every dimension of the space, by path, and optionally a ``seed``. It reports
    once an epoch: the fields of ``EpochRecord`` (``val_accuracy``, ``train_accuracy``, ``val_loss`` ...; ``epoch``
    counts through both phases, as Tune's ``training_iteration`` does; ``phase_epoch`` within the phase), ``gap``,
    ``score`` (the validation metric, higher is better), ``best_score`` and ``best_epoch`` so far, and ``ending``, which
    is empty until the last epoch. With ``patience``, a training may end one step after its last epoch, which is then
    reported again. A trial has a checkpoint at its end, also if Tune stopped it: the predictions of all images and the
    weights of its best epoch.

    A trial uses as many threads as it has CPUs in Tune. Trainings cannot be paused, so use schedulers that stop trials,
    such as ASHA. On other nodes, the cache folder (``DRFT_CACHE``) must hold the decoded images.

    Args:
        space: name of a shipped search space, path of a YAML file, or a mapping.
        data: data source, as ``run_study`` takes it.
        options: fields of ``RunOptions`` that decide what one training is, such as ``backbone`` or ``settings``.

    Raises:
        UsageError: when the space, an option, the data or a backbone cannot be used.
    """
    run = run_options(space, data, options)
    dataset = open_dataset(run.data, options=run.data_options)
    bound = bind_space(run, len(dataset.grades))
    check_classes(dataset, bound)
    decode(dataset, bound.image_sizes, lambda _what, _done, _total: None)
    workload = Workload(
        run.data,
        tuple(sorted(run.data_options.items())),
        cache_dir=default_cache_dir().absolute(),
        cache_size=run.cache_size,
        networks=len(bound.base_configs),
        dataset=dataset,
        trainer=run.trainer,
    )
    bound_class: type[tune.Trainable] = tune.with_parameters(
        TwoPhaseTraining, space=bound, workload=workload, seed=run.seed
    )
    return bound_class


_NOT_PAUSED = (
    "a training ends with its checkpoint and cannot go on: use a scheduler that stops trials, such as ASHA, and leave "
    "out checkpoint_frequency"
)


class TwoPhaseTraining(tune.Trainable):
    """One training after the other; :func:`trainable` binds it to a space and a data set."""

    def setup(  # type: ignore[override]  # tune.with_parameters gives the further arguments
        self, config: dict[str, Any], space: BoundSpace, workload: Workload, seed: int
    ) -> None:
        """Prepare; faults of the configuration are raised by the first step, where Tune reports them without noise."""
        self._records: list[EpochRecord] = []
        self._space, self._workload, self._seed = space, workload, seed
        self._executor: LocalExecutor | None = None
        self._job: Job | None = None
        self._result: TrialResult | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial; a training that Tune stopped ends now."""
        self._stop_training()
        self._job, self._result = None, None
        self._records = []
        return True

    def step(self) -> dict[str, Any]:
        """Train until the next epoch has ended, and return its metrics.

        Raises:
            UsageError: when the configuration is not one of the space, or the worker cannot start.
            TrainingError: when the training failed, with the reason.
        """
        if self._job is None:
            self._job = Job(0, config_of(self._space, self.config, self._seed))
            if self._executor is None:
                self._executor = self._start_worker()
            self._executor.submit(self._job)
        elif self._result is not None:
            raise UsageError(_NOT_PAUSED)
        else:
            assert self._executor is not None
            self._executor.answer(self._job.number, keep_on=True)
        event = self._next_event(self._executor)
        if isinstance(event, Reported):
            self._records.append(event.record)
            if event.record.step < self._job.config.steps:
                return self._metrics()
            self._executor.answer(self._job.number, keep_on=True)  # it was the last epoch: the result follows
            event = self._next_event(self._executor)
        assert isinstance(event, Finished)
        self._result = event.result
        return {
            **self._metrics(),
            "ending": event.result.ending,
            "depth_fraction": event.result.depth_fraction,
            "trainable_fraction": event.result.trainable_fraction,
            "training_seconds": event.result.seconds,
            DONE: True,
            SHOULD_CHECKPOINT: True,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """End the training if Tune stopped it, and write its result as a study does."""
        self._stop_training()
        if self._result is not None:
            dataset = self._workload.dataset
            folder = StudyFolder(Path(checkpoint_dir), () if dataset is None else dataset.grades)
            folder.trials.mkdir()
            folder.write_trial(0, self._result, checkpoint=True)

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Refuse to go on with a training that was paused.

        Raises:
            UsageError: always.
        """
        raise UsageError(_NOT_PAUSED)

    def cleanup(self) -> None:
        """End the worker."""
        if self._executor is not None:
            self._executor.__exit__()

    def _stop_training(self) -> None:
        """End the training after the epoch that it has just reported, unless it has ended."""
        if self._executor is not None and self._records and self._job is not None and self._result is None:
            self._executor.answer(self._job.number, keep_on=False)
            event = self._next_event(self._executor)
            assert isinstance(event, Finished)
            self._result = event.result

    def _start_worker(self) -> LocalExecutor:
        resources = self.trial_resources.required_resources if self.trial_resources else {}
        cpus, gpus = resources.get("CPU", 1.0), resources.get("GPU", 0.0)
        workload = replace(
            self._workload,
            workers=max(1, int(cores() // max(cpus, 1))),
            trials_per_gpu=TrialResources(cpus, gpus).trials_per_gpu,
        )
        gpu = os.environ["CUDA_VISIBLE_DEVICES"] if ray.get_gpu_ids() else None
        slot = Slot(f"tune-{os.getpid()}", gpu, thread_limit(int(cpus)))
        return LocalExecutor(workload, [slot], Path(self.logdir, "worker.log").absolute()).__enter__()

    def _next_event(self, executor: LocalExecutor) -> Reported | Finished:
        """Wait for the end of an epoch or of the training.

        Raises:
            UsageError: when the worker cannot start.
            TrainingError: when the training failed.
        """
        while True:
            for event in executor.wait(None):
                if isinstance(event, Failed):
                    sys.stderr.write(event.traceback)
                    raise TrainingError(event.reason)
                if isinstance(event, Reported | Finished):
                    return event

    def _metrics(self) -> dict[str, Any]:
        """Return what Tune is told of the last epoch."""
        record, metric = self._records[-1], self._space.base.metric
        best = best_record(self._records, metric)
        return {
            **epoch_metrics(record),
            "score": record.score(metric),
            "best_score": best.score(metric),
            "best_epoch": best.step,
            "ending": "",
        }
