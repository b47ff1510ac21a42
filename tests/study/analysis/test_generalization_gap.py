import pandas as pd
import pytest

from study.analysis import Withheld
from study.analysis.generalization_gap import gaps, trial_gaps
from study.analysis.peak import phases
from study.results.study_results import read_study


def epochs(trial, rows):
    columns = ("phase", "train_accuracy", "val_accuracy", "train_loss", "val_loss", "train_qwk", "val_qwk")
    return [
        {"trial": trial, "step": step, **dict(zip(columns, row, strict=True))} for step, row in enumerate(rows, start=1)
    ]


EPOCHS = pd.DataFrame(
    epochs(0, [("head", 0.5, 0.4, 1.0, 1.2, 0.3, 0.2), ("depth", 0.9, 0.5, 0.4, 1.5, 0.8, 0.4)])
    + epochs(1, [("head", 0.6, 0.5, 0.9, 1.2, 0.4, 0.2), ("depth", 0.8, 0.4, 0.5, 1.4, 0.7, 0.3)])
)
COMPLETE = pd.DataFrame({"number": [1, 0], "depth": [3, 3], "best_step": [1, 2], "last_step": [2, 2]})


def test_gaps_of_each_trial_by_hand():
    table = trial_gaps(COMPLETE, EPOCHS).set_index("trial")
    assert table.loc[0, "loss_best"] == table.loc[0, "loss_last"] == pytest.approx(1.1)
    assert table.loc[1, ["accuracy_best", "accuracy_last"]].tolist() == pytest.approx([0.1, 0.4])
    assert table.loc[1, ["qwk_best", "qwk_last"]].tolist() == pytest.approx([0.2, 0.4])


def test_gaps_by_depth_are_means_over_trials():
    result = gaps(COMPLETE, EPOCHS)
    (row,) = result.by_depth
    assert (result.n, row.depth, row.n) == (2, 3, 2)
    assert row.loss.best.value == pytest.approx((0.3 + 1.1) / 2)
    assert row.loss.growth.value == pytest.approx((0.6 + 0.0) / 2)
    assert result.accuracy.last.value == pytest.approx(0.4)


def test_accuracy_gap_agrees_with_the_trials_table(demo):
    read = read_study("demo", demo)
    result = gaps(read.complete, read.epochs)
    assert result.accuracy.best.value == pytest.approx(read.complete["gap_best"].mean())
    assert result.accuracy.growth.value == pytest.approx((read.complete["gap_last"] - read.complete["gap_best"]).mean())
    assert result.loss.growth.low > 0  # planted: validation loss rises with every step


def phased(number, head, depth, best_phase, decay, after):
    last = 2 + after
    trial = {"number": number, "best_phase": best_phase, "best_step": 2, "last_step": last}
    trial |= {"val_accuracy_best": max(head, depth), "val_accuracy_last": max(head, depth) - decay}
    rows = [
        {"trial": number, "phase": "head", "val_accuracy": head},
        {"trial": number, "phase": "depth", "val_accuracy": depth},
    ]
    return trial, rows


def test_phases_by_hand():
    trials = [phased(n, 0.5, 0.6, "depth", 0.04 + 0.01 * n, 2) for n in range(5)]
    trials += [phased(9, 0.7, 0.6, "head", 0.1, 4)]
    result = phases(
        pd.DataFrame([trial for trial, _ in trials]), pd.DataFrame([row for _, rows in trials for row in rows])
    )
    assert result.depth.n == 5
    assert result.depth.decay.value == pytest.approx(0.06)
    assert result.depth.decay_per_epoch.value == pytest.approx(0.03)
    assert isinstance(result.head, Withheld)
    assert "1 peaked in the head phase" in result.head.reason
    assert result.gain.value == pytest.approx((5 * 0.1 - 0.1) / 6)


def test_peak_at_the_last_step_has_no_decay_per_epoch():
    trials = [phased(n, 0.5, 0.6, "depth", 0.0, 0) for n in range(5)]
    result = phases(
        pd.DataFrame([trial for trial, _ in trials]), pd.DataFrame([row for _, rows in trials for row in rows])
    )
    assert isinstance(result.depth.decay_per_epoch, Withheld)


def test_study_without_head_phase_has_no_gain():
    trials = [phased(n, 0.5, 0.6, "depth", 0.01 * n, 2) for n in range(6)]
    rows = [row for _, rows in trials for row in rows if row["phase"] == "depth"]
    result = phases(pd.DataFrame([trial for trial, _ in trials]), pd.DataFrame(rows))
    assert isinstance(result.gain, Withheld)
