"""What a contestant hands in, and the loop that both peers share: Optuna over the configurations of a plan."""

import time
from collections.abc import Callable
from pathlib import Path

import optuna
from pydantic import BaseModel

from benchmarks.plan import BenchmarkPlan
from drft.config.trial_config import STRENGTHS, TrialConfig


class Epoch(BaseModel):
    """The scores of one epoch, on plain images in evaluation mode."""

    step: int
    train_accuracy: float
    train_loss: float
    val_accuracy: float
    val_loss: float


class TrialMeasurement(BaseModel):
    """One trial of a contestant."""

    number: int
    """Its number in the plan."""
    depth: int
    seconds: float
    """From its start to its end, in its own worker."""
    epochs: tuple[Epoch, ...]

    @property
    def best(self) -> float:
        """The best validation accuracy."""
        return max(epoch.val_accuracy for epoch in self.epochs)


class ContestantMeasurement(BaseModel):
    """What one contestant needed."""

    setup_seconds: float
    """What is done once: imports are not counted, decoding is."""
    seconds: float
    """All trials and whatever lies between them, setup not counted."""
    trials: tuple[TrialMeasurement, ...]
    workers: int = 1
    threads: int
    """Threads of each worker in arithmetic; the plain peer has loader processes beside them."""
    process_seconds: float = 0.0
    """Of the whole process, imports included; set by who started it."""
    peak_bytes: int | None = None
    """Highest memory of all its processes together; None where the system does not tell."""

    def write(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(self.model_dump_json())

    @classmethod
    def read(cls, path: Path) -> "ContestantMeasurement":
        """Read what ``write`` wrote."""
        return cls.model_validate_json(path.read_text())


Train = Callable[[TrialConfig], list[Epoch]]


def optimize(plan: BenchmarkPlan, train: Train) -> tuple[tuple[TrialMeasurement, ...], float]:
    """Run the chosen trials of a plan as an Optuna study would be run by hand.

    Args:
        plan: its chosen configurations are put in the study's queue.
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
    told: list[TrialMeasurement] = []

    def objective(trial: optuna.Trial) -> float:
        number = plan.chosen[trial.number]
        asked = (trial.suggest_int("depth", 0, deepest), trial.suggest_float("strength", 0, STRENGTHS[-1], step=0.25))
        config = plan.trials[number]
        assert asked == (config.depth, config.augmentation.strength)
        started = time.perf_counter()
        epochs = train(config)
        seconds = time.perf_counter() - started
        told.append(TrialMeasurement(number=number, depth=config.depth, seconds=seconds, epochs=tuple(epochs)))
        print(f"trial {len(told)}/{len(plan.chosen)} (depth {config.depth}) took {seconds:.1f} s", flush=True)
        return told[-1].best

    started = time.perf_counter()
    study.optimize(objective, n_trials=len(plan.chosen))
    return tuple(told), time.perf_counter() - started
