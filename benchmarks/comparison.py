"""Measurements of the compared programs side by side: cost per trial, ratio, share of compute, agreement."""

import statistics
from collections.abc import Mapping

from pydantic import BaseModel

from benchmarks.peer_measurement import ProgramMeasurement, TrialMeasurement
from benchmarks.plan import BenchmarkPlan

_ROUNDING = 1e-6
"""Accuracies that differ by less are equal; one image changes an accuracy by at least 1e-5."""


class ProgramCosts(BaseModel):
    """Costs of one program."""

    ran: int
    """Trials that the program ran."""
    seconds_per_trial: float
    """Wall time; the setup is divided by all trials of the plan."""
    seconds_per_chosen_trial: float
    """The same over the trials that all programs ran."""
    trials_per_hour: float
    ratio: float
    """Cost per trial over that of drft-study."""
    ratio_chosen: float
    """The same over the trials that all programs ran."""
    arithmetic_seconds_per_trial: float
    """Lower bound: compute time of the trained blocks in one trial, on all the cores that the program uses."""
    arithmetic_share: float
    """The lower bound over the wall time per trial."""
    peak_bytes: int | None


class CurveAgreement(BaseModel):
    """Differences between a peer's validation curves and those of drft-study, over the trials that both ran."""

    trials: int
    steps: int
    equal_steps: float
    """Share of the epochs with equal validation accuracy."""
    accuracy_max: float
    accuracy_mean: float
    loss_max: float
    loss_mean: float


class BestScoreDifference(BaseModel):
    """Best validation accuracy of each trial, a peer's minus drft-study's."""

    trials: int
    mean: float
    mean_absolute: float


def compare_costs(
    plan: BenchmarkPlan, measured: Mapping[str, ProgramMeasurement], compute: Mapping[str, Mapping[int, float]]
) -> dict[str, ProgramCosts]:
    """Compare costs.

    Args:
        plan: what was run.
        measured: every program by name, ``ours`` among them.
        compute: for each program the compute seconds of every trial by number.
    """
    own = measured["ours"]
    own_mean, own_chosen = _seconds_per_trial(plan, own), _seconds_per_chosen_trial(plan, own)
    costs = {}
    for name, program in measured.items():
        mean, chosen = _seconds_per_trial(plan, program), _seconds_per_chosen_trial(plan, program)
        bound = statistics.mean(compute[name][trial.number] for trial in program.trials)
        costs[name] = ProgramCosts(
            ran=len(program.trials),
            seconds_per_trial=mean,
            seconds_per_chosen_trial=chosen,
            trials_per_hour=3600 / mean,
            ratio=mean / own_mean,
            ratio_chosen=chosen / own_chosen,
            arithmetic_seconds_per_trial=bound,
            arithmetic_share=bound / mean,
            peak_bytes=program.peak_bytes,
        )
    return costs


def compare_curves(ours: ProgramMeasurement, peer: ProgramMeasurement) -> CurveAgreement:
    """Compare validation curves epoch by epoch."""
    epochs = [
        pair for mine, theirs in _trial_pairs(ours, peer) for pair in zip(mine.epochs, theirs.epochs, strict=True)
    ]
    accuracy = [abs(mine.val_accuracy - theirs.val_accuracy) for mine, theirs in epochs]
    loss = [abs(mine.val_loss - theirs.val_loss) for mine, theirs in epochs]
    return CurveAgreement(
        trials=len(peer.trials),
        steps=len(epochs),
        equal_steps=statistics.mean(difference < _ROUNDING for difference in accuracy),
        accuracy_max=max(accuracy),
        accuracy_mean=statistics.mean(accuracy),
        loss_max=max(loss),
        loss_mean=statistics.mean(loss),
    )


def compare_best(ours: ProgramMeasurement, peer: ProgramMeasurement) -> BestScoreDifference:
    """Compare the best validation accuracies of the trials that both ran."""
    differences = [theirs.best - mine.best for mine, theirs in _trial_pairs(ours, peer)]
    return BestScoreDifference(
        trials=len(differences), mean=statistics.mean(differences), mean_absolute=statistics.mean(map(abs, differences))
    )


def _trial_pairs(ours: ProgramMeasurement, peer: ProgramMeasurement) -> list[tuple[TrialMeasurement, TrialMeasurement]]:
    mine = {trial.number: trial for trial in ours.trials}
    return [(mine[trial.number], trial) for trial in peer.trials]


def _seconds_per_trial(plan: BenchmarkPlan, program: ProgramMeasurement) -> float:
    return program.seconds / len(program.trials) + program.setup_seconds / len(plan.trials)


def _seconds_per_chosen_trial(plan: BenchmarkPlan, program: ProgramMeasurement) -> float:
    """Return the chosen trials' share of the wall time, by the seconds of each trial in its worker.

    Workers run in parallel, so the sum of the trials' own seconds is more than the wall time.
    """
    seconds = {trial.number: trial.seconds for trial in program.trials}
    share = sum(seconds[number] for number in plan.chosen) / sum(seconds.values())
    return share * program.seconds / len(plan.chosen) + program.setup_seconds / len(plan.trials)
