"""A trainer that takes no time, and a sampler that is timed: to measure the cost of a study beyond its trainings."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from benchmarks.process_memory import proportional_bytes
from drft.config.trial_config import TrialConfig
from drft.training.records import PARTS, Ending, EpochRecord, Predictions, TrialResult
from study.executors.base import Workload

_IMAGES = {"train": 330, "validation": 83, "test": 103}
"""As many as in IDRiD, so that events and files have their usual size."""

_STATE_SIZE = 60_000
"""Numbers in the best state: about those of two blocks of the embedded backbone."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


def instant_trainer(_workload: Workload) -> Callable[[TrialConfig, Callable[[EpochRecord], bool]], TrialResult]:
    """Return the function that a worker calls for each job."""
    return _train


def _train(config: TrialConfig, on_epoch: Callable[[EpochRecord], bool]) -> TrialResult:
    """Report epochs with scores from the configuration and some noise, and return a result of the usual size."""
    rng = np.random.default_rng(config.seed)
    records: list[EpochRecord] = []
    ending: Ending = "completed"
    for step in range(1, config.head_phase.epochs + config.depth_phase.epochs + 1):
        records.append(_record(config, step, rng))
        if not on_epoch(records[-1]):
            ending = "pruned"
            break
    predictions = {
        part: Predictions(
            tuple(f"{part}/{index}" for index in range(_IMAGES[part])),
            rng.integers(0, 5, _IMAGES[part]),
            rng.random((len(records), _IMAGES[part], 5)).astype(np.float16),
        )
        for part in PARTS
    }
    state = {"head.weight": rng.random(_STATE_SIZE).astype(np.float32)}
    return TrialResult(config, tuple(records), ending, config.depth / 8, config.depth / 8, predictions, state)


def _record(config: TrialConfig, step: int, rng: np.random.Generator) -> EpochRecord:
    head = config.head_phase.epochs
    expected = 0.5 + 0.02 * config.depth - 0.05 * abs(np.log10(config.depth_phase.lr) + 3)
    accuracy = float(np.clip(expected + 0.01 * step + rng.normal(0, 0.02), 0, 1))
    return EpochRecord(
        step=step,
        phase="head" if step <= head else "depth",
        epoch=step if step <= head else step - head,
        train_accuracy=accuracy,
        train_loss=1.0,
        train_qwk=accuracy,
        train_balanced_accuracy=accuracy,
        val_accuracy=accuracy,
        val_loss=1.0,
        val_qwk=accuracy,
        val_balanced_accuracy=accuracy,
        running_loss=1.0,
        head_lr=1e-3,
        block_lr=1e-3,
        seconds=0.0,
    )


@dataclass(frozen=True, slots=True)
class TrialTiming:
    """State of the tuner at the start of a trial."""

    wall: float
    sampler: float
    """Seconds spent in the sampler so far."""
    driver_bytes: int
    """Memory of the tuner's process."""


class TimedSampler(BaseSampler):
    """Calls another sampler, times its calls, and records a timing at the start of each trial."""

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler = sampler
        self._seconds = 0.0
        self.timings: list[TrialTiming] = []

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Call the sampler; Optuna calls this method first in each trial."""
        self.timings.append(TrialTiming(time.perf_counter(), self._seconds, proportional_bytes(os.getpid())))
        return self._timed(self._sampler.infer_relative_search_space, study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Call the sampler."""
        return self._timed(self._sampler.sample_relative, study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Call the sampler."""
        return self._timed(self._sampler.sample_independent, study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Call the sampler."""
        self._timed(self._sampler.before_trial, study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Call the sampler."""
        self._timed(self._sampler.after_trial, study, trial, state, values)

    def _timed(self, method: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        started = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            self._seconds += time.perf_counter() - started


def trial_costs(timings: Sequence[TrialTiming], counts: Sequence[int], window: int) -> Mapping[int, dict[str, float]]:
    """Return the cost of a trial in a study of each size, as the mean over the last ``window`` trials before it.

    Returns:
        For each count: milliseconds in all, in the sampler and in the rest, and the memory of the tuner in bytes.
    """
    costs = {}
    for count in counts:
        first, last = timings[max(0, count - 1 - window)], timings[count - 1]
        trials = min(window, count - 1)
        sampler = 1000 * (last.sampler - first.sampler) / trials
        total = 1000 * (last.wall - first.wall) / trials
        costs[count] = {
            "milliseconds": total,
            "sampler": sampler,
            "rest": total - sampler,
            "driver_bytes": float(last.driver_bytes),
        }
    return costs
