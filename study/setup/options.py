"""What a run can be told: the options of ``drft-study run``, as one value for the Python API too."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from drft.config.trial_config import Metric, Normalization, Precision
from drft.errors import UsageError
from study.callbacks.names import Log
from study.pruners.names import Pruner
from study.samplers.names import Sampler

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "": 1.0}


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a study is run. ``None`` leaves a choice to the search space, or to what the machine offers."""

    trials: int = 100
    """Finished trials the study shall come to."""
    space: str = "default"
    """Name of a shipped search space, or the path of a YAML file."""
    data: str = "synthetic"
    data_options: Mapping[str, str] = field(default_factory=dict)
    """Options of the data source, as ``drft.data.open_dataset`` takes them."""
    study: str | None = None
    """Name of the study; by default made of space, data and backbone."""
    storage: str | None = None
    """Path or URL of an Optuna storage (``study.storage.open.open_storage``), by default ``results/STUDY/study.db``."""
    results: Path = Path("results")
    backbone: str | None = None
    weights: str | None = None
    normalization: Normalization | None = None
    image_size: int | None = None
    precision: Precision | None = None
    sampler: Sampler = "tpe"
    folds: int | None = None
    """Train each trial once for each of so many folds, so that every training image validates once."""
    pruner: Pruner | None = None
    """None for what suits: ``asha``, or ``wilcoxon`` where trials have more than three folds."""
    metric: Metric | None = None
    max_gap: float | None = None
    """A trial whose gap at its best step is above this is not feasible: it cannot be the best. None for no limit."""
    timeout: float | None = None
    """Seconds after which the run stops."""
    trial_timeout: float | None = None
    """Seconds after which a trial is taken to hang; it is ended and tried again. None for no limit."""
    max_retries: int = 1
    """How often a failed trial is run again; one that lacks memory with ever smaller micro-batches."""
    failure_limit: float = 0.5
    """The run stops when more than this fraction of its last trials failed."""
    stop_when_noise: bool = False
    """Stop when further trials could show nothing but noise."""
    seed: int = 0
    executor: Literal["local", "ray"] = "local"
    jobs: int | None = None
    gpus: Sequence[str] | None = None
    trials_per_gpu: int | None = None
    ray_address: str | None = None
    """A Ray cluster that runs: ``auto`` or ``HOST:PORT``; by default one is started on this machine."""
    cpus_per_trial: float | None = None
    """CPUs that each trial takes of its node (``ray`` only); 1 by default."""
    gpus_per_trial: float | None = None
    """GPUs that each trial takes of its node (``ray`` only), such as 0.5; by default 1 where there are any."""
    cache_size: int | None = None
    """Bytes that activations of all studies may take on the disk; None for a share of what is free, 0 keeps none."""
    keep_checkpoints: int = 5
    report: bool = True
    log: Log | None = None
    """A program that keeps trials, beside the study's own files."""
    command: str = "study.run_study(...)"
    """How the run was started, for the record."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense.

        Raises:
            UsageError: naming each of them.
        """
        least = {
            "trials": 1,
            "seed": 0,
            "jobs": 1,
            "trials_per_gpu": 1,
            "cache_size": 0,
            "keep_checkpoints": 0,
            "max_retries": 0,
            "folds": 2,
        }
        found = {name: getattr(self, name) for name in least}
        faults = [
            f"{name.replace('_', '-')} should be at least {least[name]}, not {value}"
            for name, value in found.items()
            if value is not None and value < least[name]
        ]
        if not 0 < self.failure_limit <= 1:
            faults.append(f"failure-limit should be above 0 and at most 1, not {self.failure_limit}")
        if self.max_gap is not None and not 0 <= self.max_gap < 1:
            faults.append(f"max-gap should be at least 0 and below 1, a difference of accuracies, not {self.max_gap:g}")
        faults += self._contradictions()
        if faults:
            raise UsageError(faults)

    def _contradictions(self) -> list[str]:
        """Name options that do not go with the executor."""
        ray = {name: getattr(self, name) for name in ("ray_address", "cpus_per_trial", "gpus_per_trial")}
        local = {"gpus": self.gpus, "trials_per_gpu": self.trials_per_gpu}
        said = ray if self.executor == "local" else local
        instead = (
            "use it with --executor ray" if self.executor == "local" else "Ray places trials, see --gpus-per-trial"
        )
        unfit = [f"--{name.replace('_', '-')}: {instead}" for name, value in said.items() if value is not None]
        for name, value in (("cpus", self.cpus_per_trial), ("gpus", self.gpus_per_trial)):
            if value is not None and not 0 < value < float("inf"):
                unfit.append(f"{name}-per-trial should be above 0, not {value:g}")
            elif value is not None and value > 1 and value != int(value):
                unfit.append(f"{name}-per-trial should be a whole number above 1, not {value:g}")
        return unfit

    @property
    def config_values(self) -> dict[str, str | int | None]:
        """What was said of the training, by its path in TrialConfig."""
        said = {
            "backbone.name": self.backbone,
            "backbone.weights": self.weights,
            "backbone.normalization": self.normalization,
            "image_size": self.image_size,
            "precision": self.precision,
            "metric": self.metric,
        }
        folds = {"split.folds": self.folds, "split.fold": None} if self.folds else {}
        return {path: value for path, value in said.items() if value is not None} | folds


def parse_duration(text: str) -> float:
    """Return the seconds of ``600``, ``90s``, ``10m``, ``2h`` or ``1h30m``.

    Raises:
        ValueError: when it is no duration above zero.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms]?)", text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or seconds <= 0:
        raise ValueError(f"{text!r} is no duration: write 600, 90s, 10m, 2h or 1h30m")
    return seconds
