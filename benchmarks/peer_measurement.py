"""What is measured of drft-study and of each peer, and the Optuna loop of both peers."""

import time
from collections.abc import Callable

import optuna
from pydantic import BaseModel

from benchmarks.plan import BenchmarkPlan
from drft.config.trial_config import STRENGTHS, TrialConfig


class EpochScores(BaseModel):
    """Scores of one epoch, in evaluation mode on plain images."""

    step: int
    train_accuracy: float
    train_loss: float
    val_accuracy: float
    val_loss: float


class TrialMeasurement(BaseModel):
    """One trial of one program."""

    number: int
    """Number of the trial in the plan."""
    depth: int
    seconds: float
    """From start to end of the trial in its worker."""
    epochs: tuple[EpochScores, ...]

    @property
    def best(self) -> float:
        """The best validation accuracy."""
        return max(epoch.val_accuracy for epoch in self.epochs)


class ProgramMeasurement(BaseModel):
    """What one program took for a plan."""

    setup_seconds: float
    """Work that is done once, such as decoding; imports are not counted."""
    seconds: float
    """Everything from the first to the last trial; the setup is not counted."""
    trials: tuple[TrialMeasurement, ...]
    workers: int = 1
    threads: int
    """Compute threads of each worker; the plain peer has loader processes as well."""
    process_seconds: float = 0.0
    """Wall time of the whole process with its imports; set by the process that starts it."""
    peak_bytes: int | None = None
    """Highest memory of all its processes together; None on systems without ``/proc``."""


def run_trials(
    plan: BenchmarkPlan, train: Callable[[TrialConfig], list[EpochScores]]
) -> tuple[tuple[TrialMeasurement, ...], float]:
    """Run the chosen trials of a plan as a hand-written Optuna study.

    Args:
        plan: its chosen configurations are enqueued.
        train: trains one configuration and returns its epochs.

    Returns:
        The trials, and the seconds of the whole loop.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    deepest = max(config.depth for config in plan.trials)
    study = optuna.create_study(direction="maximize")
    for number in plan.chosen:
        config = plan.trials[number]
        study.enqueue_trial({"depth": config.depth, "strength": config.augmentation.strength})
    trials: list[TrialMeasurement] = []

    def objective(trial: optuna.Trial) -> float:
        number = plan.chosen[trial.number]
        config = plan.trials[number]
        depth = trial.suggest_int("depth", 0, deepest)
        strength = trial.suggest_float("strength", 0, STRENGTHS[-1], step=0.25)
        assert (depth, strength) == (config.depth, config.augmentation.strength)
        started = time.perf_counter()
        epochs = train(config)
        seconds = time.perf_counter() - started
        trials.append(TrialMeasurement(number=number, depth=depth, seconds=seconds, epochs=tuple(epochs)))
        print(f"trial {len(trials)}/{len(plan.chosen)} (depth {depth}) took {seconds:.1f} s", flush=True)
        return trials[-1].best

    started = time.perf_counter()
    study.optimize(objective, n_trials=len(plan.chosen))
    return tuple(trials), time.perf_counter() - started
