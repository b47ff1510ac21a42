"""What pruning saved and what it may have cost, measured on the control arm: trials that are never pruned."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from study.analysis.estimators.intervals import Estimate, Withheld, exact_proportion
from study.analysis.planned_epochs import planned_epochs, planned_trainings

TOP = 5
"""A winner is a trial that scores as high as the fifth best completed one."""

MIN_CONTROL = 5
"""Below five trials the exact interval of the flagged share spans nearly everything."""


class Savings(NamedTuple):
    """Epochs that pruned trials did not run."""

    pruned: int
    epochs_run: int
    """By completed and pruned trials together."""
    epochs_saved: int
    """Of the planned ones; an upper bound where early stopping would have ended some anyway."""
    share: float
    """Saved over run and saved."""
    hours: float
    """Saved, at what an epoch of the depth phase took in the same trial."""


class PrunerAudit(NamedTuple):
    """The control arm: random trials that ran on when the pruner would have stopped them."""

    control: int
    """Completed trials of it."""
    flagged: Estimate
    """Share the pruner would have stopped; exact interval."""
    winners: Estimate | Withheld
    """Share of those that ended among the study's best ``TOP``; exact interval."""
    killed_best: bool
    """Whether one of those is the best trial of the study."""
    regret: float | None
    """Best score of the control arm minus the best among its trials that the pruner would have let run; None where it
    would have let none run."""
    missed: Estimate | Withheld
    """Projected: pruned trials that would have ended as high as the study's best ``TOP``."""
    savings: Savings


def pruner_audit(
    trials: pd.DataFrame,
    complete: pd.DataFrame,
    epochs: pd.DataFrame,
    base_config: Mapping[str, Any],
    pruners: Sequence[str],
) -> PrunerAudit | Withheld:
    """Estimate the share of winners among the trials that the pruner stops, and the epochs it saved.

    Shares carry the exact interval of Clopper & Pearson; ``missed`` is the share of winners, with its interval, times
    the number of pruned trials. Few trials of the control arm are flagged, so a share of 0 is compatible with many: see
    its interval.

    Valid because the control arm is drawn by trial number alone, so that its trials represent all. Withheld without a
    pruner or with several, and below ``MIN_CONTROL`` completed trials of the control arm; the winners where none of
    them is flagged.
    """
    if {*pruners} == {"none"}:
        return Withheld("the study ran without a pruner")
    if len(pruners) > 1:
        return Withheld(f"the study ran with several pruners ({', '.join(pruners)}), and an audit is of one")
    control = complete[complete["control"].eq(True)]
    if len(control) < MIN_CONTROL:
        return Withheld(
            f"an audit needs at least {MIN_CONTROL} completed trials of the control arm, there are {len(control)}"
        )
    stopped = control["would_prune"].notna()
    flagged, running = control[stopped], control[~stopped]
    winners: Estimate | Withheld = Withheld("the pruner would have stopped no trial of the control arm")
    missed, saved = winners, savings(trials, epochs, base_config)
    if len(flagged):
        threshold = complete["score"].iloc[min(TOP, len(complete)) - 1]
        winners = exact_proportion(int((flagged["score"] >= threshold).sum()), len(flagged))
        low, high = ((end or 0.0) * saved.pruned for end in (winners.low, winners.high))
        missed = Estimate(winners.value * saved.pruned, low, high, winners.n)
    return PrunerAudit(
        control=len(control),
        flagged=exact_proportion(len(flagged), len(control)),
        winners=winners,
        killed_best=bool(flagged["number"].eq(complete.iloc[0]["number"]).any()),
        regret=float(control["score"].max() - running["score"].max()) if len(running) else None,
        missed=missed,
        savings=saved,
    )


def savings(trials: pd.DataFrame, epochs: pd.DataFrame, base_config: Mapping[str, Any]) -> Savings:
    """Count the epochs that ran, of all folds where there are any, and those that pruning saved."""
    ended = trials[trials["state"].isin(["COMPLETE", "PRUNED"]) & trials["last_step"].notna()]
    trainings = planned_trainings(base_config)
    ran = ended["last_step"].astype(int) * (ended["folds"].astype(int) if trainings > 1 else 1)
    pruned = ended["state"] == "PRUNED"
    saved_by_trial = (trainings * planned_epochs(ended, base_config) - ran)[pruned].clip(lower=0)
    run, saved = int(ran.sum()), int(saved_by_trial.sum())
    seconds = epochs[epochs["phase"] == "depth"].groupby("trial")["seconds"].mean()
    hours = float((saved_by_trial * ended.loc[pruned, "number"].astype(int).map(seconds)).sum()) / 3600
    return Savings(int(pruned.sum()), run, saved, saved / max(1, run + saved), hours)
