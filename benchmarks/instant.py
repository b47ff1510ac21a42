"""A trainer that takes no time, and a sampler with a stopwatch: what is left of a study is its driver."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from benchmarks.run_program import proportional_bytes
from drft.config.trial_config import TrialConfig
from drft.training.records import PARTS, EpochRecord, Predictions, TrialResult
from study.executors.base import Workload

_PICTURES = {"train": 330, "validation": 83, "test": 103}
"""IDRiD's, so that what is sent and written has its usual size."""

_STATE = 60_000
"""Numbers in the best state: about those of two blocks of the embedded backbone."""


def instant_trainer(_workload: Workload) -> Callable[[TrialConfig, Callable[[EpochRecord], bool]], TrialResult]:
    """Return what a worker calls for each job."""
    return _train


def _train(config: TrialConfig, on_epoch: Callable[[EpochRecord], bool]) -> TrialResult:
    """Report epochs whose scores follow from the configuration and some noise, and end as a training would."""
    rng = np.random.default_rng(config.seed)
    records: list[EpochRecord] = []
    ending = "completed"
    for step in range(1, config.head_phase.epochs + config.depth_phase.epochs + 1):
        records.append(_record(config, step, rng))
        if not on_epoch(records[-1]):
            ending = "pruned"
            break
    predictions = {
        part: Predictions(
            tuple(f"{part}/{index}" for index in range(_PICTURES[part])),
            rng.integers(0, 5, _PICTURES[part]),
            rng.random((len(records), _PICTURES[part], 5)).astype(np.float16),
        )
        for part in PARTS
    }
    state = {"head.weight": rng.random(_STATE).astype(np.float32)}
    return TrialResult(config, tuple(records), ending, config.depth / 8, config.depth / 8, predictions, state)


def _record(config: TrialConfig, step: int, rng: np.random.Generator) -> EpochRecord:
    head = config.head_phase.epochs
    learned = 0.5 + 0.02 * config.depth - 0.05 * abs(np.log10(config.depth_phase.lr) + 3)
    accuracy = float(np.clip(learned + 0.01 * step + rng.normal(0, 0.02), 0, 1))
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
class Lap:
    """How far a study was when it asked for a trial."""

    wall: float
    sampler: float
    """Seconds spent in the sampler so far."""
    driver_bytes: int
    """Memory of the driver's process."""


class TimedSampler(BaseSampler):
    """Asks another sampler, measures how long that takes, and notes a lap for each trial that is asked for."""

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler = sampler
        self._spent = 0.0
        self.laps: list[Lap] = []

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Ask; the first question of a trial."""
        self.laps.append(Lap(time.perf_counter(), self._spent, proportional_bytes(os.getpid())))
        return self._timed(self._sampler.infer_relative_search_space, study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask."""
        return self._timed(self._sampler.sample_relative, study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Ask."""
        return self._timed(self._sampler.sample_independent, study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Pass on."""
        self._timed(self._sampler.before_trial, study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Pass on."""
        self._timed(self._sampler.after_trial, study, trial, state, values)

    def _timed(self, ask: Callable[..., Any], *about: Any) -> Any:
        started = time.perf_counter()
        try:
            return ask(*about)
        finally:
            self._spent += time.perf_counter() - started


def windows(laps: Sequence[Lap], counts: Sequence[int], width: int) -> Mapping[int, dict[str, float]]:
    """Return what a trial costs when a study has so many: means over the last ``width`` trials before each count.

    Returns:
        For each count milliseconds in all, in the sampler and in the rest, and the driver's memory in bytes.
    """
    found = {}
    for count in counts:
        first, last = laps[max(0, count - 1 - width)], laps[count - 1]
        trials = min(width, count - 1)
        sampler = 1000 * (last.sampler - first.sampler) / trials
        whole = 1000 * (last.wall - first.wall) / trials
        found[count] = {
            "milliseconds": whole,
            "sampler": sampler,
            "rest": whole - sampler,
            "driver_bytes": float(last.driver_bytes),
        }
    return found
