"""What the contestants' measurements say side by side: cost per trial, ratio, share of arithmetic, agreement."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel

from benchmarks.peer_measurement import ContestantMeasurement, Epoch, TrialMeasurement
from benchmarks.plan import BenchmarkPlan

_ROUNDING = 1e-6
"""Accuracies that are nearer than this are the same; one image more is at least 1e-5."""


class ContestantCosts(BaseModel):
    """One contestant's costs."""

    ran: int
    """Trials it ran itself."""
    seconds_per_trial: float
    """Wall time, with its setup shared out over all trials of the plan."""
    seconds_per_chosen_trial: float
    """The same over the trials that all contestants ran."""
    trials_per_hour: float
    ratio: float
    """How many times the cost of this program."""
    ratio_chosen: float
    """The same over the trials that all contestants ran."""
    arithmetic_seconds_per_trial: float
    """Bare arithmetic of the trained blocks in one trial, on all the cores that the contestant uses."""
    arithmetic_share: float
    """Arithmetic of trained blocks over wall time; all else is the rest."""
    peak_bytes: int | None


class Agreement(BaseModel):
    """How far a contestant's validation curves are from this program's, over the trials that both ran."""

    trials: int
    steps: int
    equal_steps: float
    """Share of the steps with the very same validation accuracy."""
    accuracy_max: float
    accuracy_mean: float
    loss_max: float
    loss_mean: float


class BestScoreDifference(BaseModel):
    """Best validation accuracy of each trial, a contestant's minus this program's."""

    trials: int
    mean: float
    mean_absolute: float


def stand(
    plan: BenchmarkPlan, measured: Mapping[str, ContestantMeasurement], arithmetic: Mapping[str, Mapping[int, float]]
) -> dict[str, ContestantCosts]:
    """Compare costs.

    Args:
        plan: what was done.
        measured: every contestant by name, ``ours`` among them.
        arithmetic: for each of them the seconds of bare arithmetic of every trial by number.
    """
    own = measured["ours"]
    own_mean, own_chosen = _per_trial(plan, own), _per_chosen_trial(plan, own)
    return {
        name: ContestantCosts(
            ran=len(one.trials),
            seconds_per_trial=_per_trial(plan, one),
            seconds_per_chosen_trial=_per_chosen_trial(plan, one),
            trials_per_hour=3600 / _per_trial(plan, one),
            ratio=_per_trial(plan, one) / own_mean,
            ratio_chosen=_per_chosen_trial(plan, one) / own_chosen,
            arithmetic_seconds_per_trial=(bare := statistics.mean(arithmetic[name][t.number] for t in one.trials)),
            arithmetic_share=bare / _per_trial(plan, one),
            peak_bytes=one.peak_bytes,
        )
        for name, one in measured.items()
    }


def agree(ours: ContestantMeasurement, other: ContestantMeasurement) -> Agreement:
    """Compare validation curves step by step."""
    steps = [pair for mine, theirs in _pairs(ours, other) for pair in zip(mine.epochs, theirs.epochs, strict=True)]
    accuracy, loss = _gaps(steps, "val_accuracy"), _gaps(steps, "val_loss")
    return Agreement(
        trials=len(other.trials),
        steps=len(steps),
        equal_steps=statistics.mean(gap < _ROUNDING for gap in accuracy),
        accuracy_max=max(accuracy),
        accuracy_mean=statistics.mean(accuracy),
        loss_max=max(loss),
        loss_mean=statistics.mean(loss),
    )


def compare_best(ours: ContestantMeasurement, other: ContestantMeasurement) -> BestScoreDifference:
    """Compare the best validation accuracies of the trials that both ran."""
    gaps = [theirs.best - mine.best for mine, theirs in _pairs(ours, other)]
    return BestScoreDifference(
        trials=len(gaps), mean=statistics.mean(gaps), mean_absolute=statistics.mean(abs(gap) for gap in gaps)
    )


def _per_trial(plan: BenchmarkPlan, one: ContestantMeasurement) -> float:
    return one.seconds / len(one.trials) + one.setup_seconds / len(plan.trials)


def _per_chosen_trial(plan: BenchmarkPlan, one: ContestantMeasurement) -> float:
    """Share the wall time out over all trials by what each took in its worker, and take the chosen ones' shares.

    Workers run side by side, so a trial's own seconds are not what it costs; its share of the wall time is.
    """
    taken = {trial.number: trial.seconds for trial in one.trials}
    share = sum(taken[number] for number in plan.chosen) / sum(taken.values())
    return share * one.seconds / len(plan.chosen) + one.setup_seconds / len(plan.trials)


def _pairs(
    ours: ContestantMeasurement, other: ContestantMeasurement
) -> Iterable[tuple[TrialMeasurement, TrialMeasurement]]:
    mine = {trial.number: trial for trial in ours.trials}
    return [(mine[trial.number], trial) for trial in other.trials]


def _gaps(steps: Sequence[tuple[Epoch, Epoch]], score: str) -> list[float]:
    return [abs(getattr(mine, score) - getattr(theirs, score)) for mine, theirs in steps]
