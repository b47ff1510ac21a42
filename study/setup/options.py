"""The options of a run, for ``drft-study run`` and the Python API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from drft.config.trial_config import LARGEST_SEED, Metric, Normalization, Precision, nearest
from drft.data.datasets.open import option_texts
from drft.errors import UsageError
from study.callbacks.names import LOGS, Log
from study.executors.base import TRAINER
from study.samplers.names import GOALS, Goal

if TYPE_CHECKING:
    from study.callbacks.callback import Callback

_MINIMA = {
    "trials": 1,
    "seed": 0,
    "jobs": 1,
    "trials_per_gpu": 1,
    "cache_size": 0,
    "keep_checkpoints": 0,
    "max_retries": 0,
    "folds": 2,
}

_CHOICES: Mapping[str, Sequence[str]] = {"goal": GOALS, "executor": ("local", "ray"), "log": LOGS}

_OWN = " such as module:function"

_TEXTS: Mapping[str, str] = {
    "data": "", "study": "", "storage": "", "backbone": "", "weights": "",
    "sampler": _OWN, "pruner": _OWN, "trainer": _OWN,
}  # fmt: skip
"""Options that are texts, with an example of those that name a function."""

_NEEDED = ("data", "sampler", "trainer")
"""Texts that may not be None."""

_SECONDS = ("timeout", "trial_timeout")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of a run. ``None`` means that the search space, or a default for this machine, determines the value."""

    trials: int = 100
    """Finished trials that the study should have."""
    goal: Goal | None = None
    """``depth`` answers how deep to fine-tune: equally many trials at every depth, then a cross-validation of the best
    configuration of each. ``best`` looks for the trial with the highest validation score. By default the goal of the
    study that is resumed, else ``depth`` where the space searches the depth of one backbone, else ``best``."""
    space: str | Mapping[str, Any] = "default"
    """Name of a shipped search space, the path of a YAML file, or what such a file holds, as a mapping."""
    data: str = "synthetic"
    """Data source, as ``drft.data.open_dataset`` takes it; ``synthetic:7`` is the rendered data set of seed 7."""
    data_options: Mapping[str, str] = field(default_factory=dict)
    """Options of the data source, as ``drft.data.open_dataset`` takes them."""
    study: str | None = None
    """Name of the study; by default, the names of space, data and backbone."""
    storage: str | None = field(default=None, repr=False)  # it may contain a password
    """Path or URL of an Optuna storage (``study.storage.open.open_storage``); by default ``results/STUDY/study.db``."""
    results: Path = Path("results")
    backbone: str | None = None
    weights: str | None = None
    normalization: Normalization | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values of further settings by their paths in ``TrialConfig``, such as ``{"depth_phase.epochs": 10}``, in place of
    those that the space fixes."""
    image_size: int | None = None
    precision: Precision | None = None
    sampler: str = "tpe"
    """``tpe``, ``random``, ``qmc``, ``gp``, ``cmaes``, ``grid``, or ``module:function``: a function that takes the
    search space and a seed and returns an ``optuna.samplers.BaseSampler``."""
    folds: int | None = None
    """Number of folds. Each trial trains once for each fold, so every training image is validated once."""
    pruner: str | None = None
    """``none``, ``predictive``, ``asha``, ``hyperband``, ``median``, ``wilcoxon``, or ``module:function``: a function
    that takes the first epoch at which a trial may be pruned and its last epoch, and returns an
    ``optuna.pruners.BasePruner``. By default ``none`` with the goal depth and ``predictive`` with the goal best; with
    folds ``wilcoxon`` if there are more than three, else ``none``."""
    metric: Metric | None = None
    max_gap: float | None = None
    """A trial with a larger gap at its best epoch is infeasible: it cannot be the best trial. None for no limit."""
    timeout: float | None = None
    """Seconds after which the run stops."""
    trial_timeout: float | None = None
    """Seconds after which a trial counts as hanging; it is stopped and retried. None for no limit."""
    max_retries: int = 1
    """How often a failed trial is retried; after a lack of memory, with smaller and smaller micro-batches."""
    failure_limit: float = 0.5
    """The run stops when more than this fraction of its last 20 trials failed."""
    stop_when_noise: bool = False
    """Stop when further trials could improve the best score by noise only."""
    seed: int = 0
    executor: Literal["local", "ray"] = "local"
    jobs: int | None = None
    gpus: Sequence[str] | None = None
    trials_per_gpu: int | None = None
    """Trials at once on each GPU; by default as many as fill it (``study.executors.resources.trainings_per_gpu``)."""
    ray_address: str | None = None
    """A running Ray cluster, ``auto`` or ``HOST:PORT``; by default, one is started on this machine."""
    cpus_per_trial: float | None = None
    """CPUs of each trial (``ray`` only); 1 by default."""
    gpus_per_trial: float | None = None
    """GPUs of each trial (``ray`` only), such as 0.5; by default 1 if the cluster has GPUs, else 0."""
    cache_size: int | None = None
    """Bytes on disk for the activations of all studies; None for a share of the free space, 0 for no cache."""
    keep_checkpoints: int = 5
    report: bool = True
    log: Log | None = None
    """A program that trials are logged to, besides the study's own files."""
    callbacks: Sequence["Callback"] = ()
    """Objects that follow the search and then each round of the cross-validation, see ``study.Callback``."""
    trainer: str = TRAINER
    """The training function, as ``module:function``. Workers import it and call it once with their ``Workload``; what
    it returns is called for each training, with a ``TrialConfig`` and a function that takes each ``EpochRecord``
    and says whether to go on, and returns a ``TrialResult``."""
    command: str = "study.run_study(...)"
    """The command that started the run; it is stored with the study."""

    def __post_init__(self) -> None:
        """Check the numbers, and that the options fit the executor; paths may be given as texts, and texts as paths.

        Raises:
            UsageError: with every fault.
        """
        object.__setattr__(self, "results", Path(self.results))
        object.__setattr__(self, "data_options", option_texts(self.data_options))
        for name in ("space", "data", "storage", "weights"):
            if isinstance(value := getattr(self, name), Path):
                object.__setattr__(self, name, str(value))
        if faults := self._wrong_kinds():  # which the checks below would stumble over
            raise UsageError(faults)
        values = {name: getattr(self, name) for name in _MINIMA}
        faults = [
            f"{name.replace('_', '-')} should be at least {_MINIMA[name]}, not {value}"
            for name, value in values.items()
            if value is not None and value < _MINIMA[name]
        ]
        if self.seed > LARGEST_SEED:
            faults.append(f"seed should be at most {LARGEST_SEED}, not {self.seed}")
        if not 0 < self.failure_limit <= 1:
            faults.append(f"failure-limit should be above 0 and at most 1, not {self.failure_limit}")
        if self.max_gap is not None and not 0 <= self.max_gap < 1:
            faults.append(f"max-gap should be at least 0 and below 1, a difference of accuracies, not {self.max_gap:g}")
        faults += self._executor_faults()
        if faults:
            raise UsageError(faults)
        if "test_fraction" in self.data_options and "test_seed" not in self.data_options:
            # Recorded with the fraction, so that later commands, which have no seed, hold the same images out.
            object.__setattr__(self, "data_options", {**self.data_options, "test_seed": str(self.seed)})

    def _wrong_kinds(self) -> list[str]:
        """Return the options that are of another type, no number of seconds or none of the names, as faults.

        The command line checks these itself; from Python, any value may come.
        """
        faults = [
            f"{name.replace('_', '-')} should be a whole number, not {value!r}"
            for name in _MINIMA
            if isinstance(value := getattr(self, name), bool) or not isinstance(value, Integral | None)
        ]
        faults += [
            f"{name.replace('_', '-')} should be a number of seconds, not {value!r}"
            for name in _SECONDS
            if (value := getattr(self, name)) is not None and not (isinstance(value, int | float) and value >= 0)
        ]
        faults += [
            f"{name} should be a text{hint}, not {value!r}"
            for name, hint in _TEXTS.items()
            if not isinstance(value := getattr(self, name), str) and not (value is None and name not in _NEEDED)
        ]
        settings: object = self.settings
        if not isinstance(settings, Mapping):
            faults.append(f"settings should be a mapping of paths to values, not {settings!r}")
        if not isinstance(self.callbacks, Sequence) or any(isinstance(item, type | str) for item in self.callbacks):
            faults.append(f"callbacks should be a list of objects, such as [MyCallback()], not {self.callbacks!r}")
        return faults + [
            f"{name} should be {' or '.join(names)}, not {value!r}{nearest(str(value), list(names))}"
            for name, names in _CHOICES.items()
            if (value := getattr(self, name)) is not None and value not in names
        ]

    def faults_with_goal_depth(self) -> list[str]:
        """Return the options that the goal ``depth`` does not use, as faults."""
        given = {"folds": self.folds, "max-gap": self.max_gap, "stop-when-noise": self.stop_when_noise or None}
        return [f"--{name} is for --goal best" for name, value in given.items() if value is not None]

    def _executor_faults(self) -> list[str]:
        """Return the faults of the options that only one of the executors uses."""
        if self.executor == "local":
            unused, hint = ["ray_address", "cpus_per_trial", "gpus_per_trial"], "use it with --executor ray"
        else:
            unused, hint = ["gpus", "trials_per_gpu"], "Ray places trials, see --gpus-per-trial"
        faults = [f"--{name.replace('_', '-')}: {hint}" for name in unused if getattr(self, name) is not None]
        for name, value in (("cpus", self.cpus_per_trial), ("gpus", self.gpus_per_trial)):
            if value is not None and not 0 < value < float("inf"):
                faults.append(f"{name}-per-trial should be above 0, not {value:g}")
            elif value is not None and value > 1 and value != int(value):
                faults.append(f"{name}-per-trial should be a whole number above 1, not {value:g}")
        return faults

    @property
    def config_values(self) -> dict[str, str | int | None]:
        """The settings that these options set, by their paths in ``TrialConfig``."""
        values = {
            "backbone.name": self.backbone,
            "backbone.weights": self.weights,
            "backbone.normalization": self.normalization,
            "image_size": self.image_size,
            "precision": self.precision,
            "metric": self.metric,
        }
        folds = {"split.folds": self.folds, "split.fold": None} if self.folds else {}
        return {path: value for path, value in values.items() if value is not None} | folds
