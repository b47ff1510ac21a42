import pandas as pd
import pytest
from scipy import stats

from study.analysis import Withheld
from study.analysis.pruning import pruner_audit

BASE = {"head_phase": {"epochs": 2}, "depth_phase": {"epochs": 8}}


def trial(number, score, *, state="COMPLETE", control=False, would_prune=None, last_step=10):
    return {
        "number": number,
        "state": state,
        "score": score,
        "control": control,
        "would_prune": would_prune,
        "last_step": last_step,
    }


def tables(rows):
    trials = pd.DataFrame(rows).astype({"would_prune": "Int64"})
    complete = trials[trials["state"] == "COMPLETE"].sort_values("score", ascending=False, ignore_index=True)
    steps = [(row["number"], step) for row in rows for step in range(1, row["last_step"] + 1)]
    epochs = pd.DataFrame(steps, columns=["trial", "step"])
    epochs["phase"] = ["head" if step <= 2 else "depth" for step in epochs["step"]]
    return trials, complete, epochs.assign(seconds=[1.0 if phase == "head" else 36.0 for phase in epochs["phase"]])


STUDY = [
    *(trial(n, 0.60 + 0.01 * n) for n in range(10)),
    *(trial(10 + n, 0.5, state="PRUNED", last_step=3) for n in range(6)),
    *(trial(20 + n, 0.61 + 0.01 * n, control=True) for n in range(3)),
    trial(30, 0.70, control=True, would_prune=3),  # a winner that pruning would have killed
    trial(31, 0.55, control=True, would_prune=5),
]


def test_audit_by_hand():
    audit = pruner_audit(*tables(STUDY), BASE, ["asha"])
    assert (audit.control, audit.flagged.value, audit.winners.value) == (5, 0.4, 0.5)
    exact = stats.beta.ppf([0.025, 0.975], [1, 2], [2, 1])  # Clopper-Pearson of one in two
    assert (audit.winners.low, audit.winners.high) == pytest.approx(tuple(exact))
    assert audit.killed_best
    assert audit.regret == pytest.approx(0.70 - 0.63)
    assert (audit.missed.value, audit.missed.high, audit.missed.n) == (3, pytest.approx(6 * exact[1]), 2)


def test_savings_by_hand():
    saved = pruner_audit(*tables(STUDY), BASE, ["asha"]).savings
    assert (saved.pruned, saved.epochs_run, saved.epochs_saved) == (6, 15 * 10 + 6 * 3, 6 * 7)
    assert saved.share == pytest.approx(42 / 210)
    assert saved.hours == pytest.approx(42 * 36 / 3600)


def test_folds_that_did_not_run_are_saved():
    trials, complete, epochs = tables([trial(n, 0.5, control=True) for n in range(5)] + [trial(5, 0.4, state="PRUNED")])
    base = {**BASE, "split": {"folds": 5, "fold": None}}
    trials["folds"] = [5] * 5 + [3]
    saved = pruner_audit(trials, complete, epochs, base, ["wilcoxon"]).savings
    assert (saved.pruned, saved.epochs_run, saved.epochs_saved) == (1, 5 * 50 + 30, 20)
    assert saved.hours == pytest.approx(20 * 36 / 3600)


def test_searched_epochs_are_planned_trial_by_trial():
    trials, complete, epochs = tables(STUDY)
    trials["depth_phase.epochs"] = [None, *[4] * (len(trials) - 1)]
    assert pruner_audit(trials, complete, epochs, BASE, ["asha"]).savings.epochs_saved == 6 * (2 + 4 - 3)


def test_winners_are_withheld_where_nothing_is_flagged():
    unflagged = [row | {"would_prune": None} for row in STUDY]
    audit = pruner_audit(*tables(unflagged), BASE, ["asha"])
    assert audit.flagged.value == 0
    assert audit.flagged.high > 0.3
    assert isinstance(audit.winners, Withheld)
    assert isinstance(audit.missed, Withheld)
    assert (audit.killed_best, audit.regret) == (False, 0)


def test_audit_is_withheld_without_a_pruner_or_a_control_arm():
    assert "without a pruner" in pruner_audit(*tables(STUDY), BASE, ["none"]).reason
    assert "there are 4" in pruner_audit(*tables(STUDY[:-1]), BASE, ["asha"]).reason
