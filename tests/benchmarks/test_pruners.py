"""Pruners replayed on completed trials."""

import json

import pandas as pd
import pytest

from benchmarks.pruners import TrialCurve, measure, read_curves, replay, table

STEPS = 10


def curve(start: float, *, control: bool = False) -> TrialCurve:
    return TrialCurve(1, control, 3, tuple(start + 0.01 * step for step in range(STEPS)))


def test_median_stops_weak_trials_after_the_head_phase_but_not_in_the_control_arm() -> None:
    strong, weak = [curve(0.5)] * 6, curve(0.1)
    effect = replay([*strong, weak], "median")
    assert effect.stopped == (*[False] * 6, True)
    assert effect.saved == pytest.approx(6 / 70)  # stopped at epoch 4 of 10
    control = replay([*strong, curve(0.1, control=True)], "median")
    assert control.stopped == effect.stopped
    assert control.saved == 0


def test_shares_of_the_best_that_were_stopped() -> None:
    curves = [curve(0.1 + 0.01 * index) for index in range(24)]  # each better than all before: none is weak
    effect = measure(curves, "predictive", orders=2, seed=0)
    assert effect["own"] == {"stopped": 0, "saved": 0, "few": 0, "quarter": 0}
    assert effect["random"] == measure(curves, "predictive", orders=2, seed=0)["random"]
    rows = table({"predictive": [effect] * 5})[1]
    assert [row[:2] for row in rows] == [("predictive", "own"), ("predictive", "random")]
    assert rows[0][3].startswith("0%")


def test_curves_are_read_from_a_report(tmp_path) -> None:
    pd.DataFrame({"number": [3, 5], "state": ["COMPLETE", "PRUNED"], "depth": [2, 1], "control": [True, False]}).to_csv(
        tmp_path / "trials.csv"
    )
    rows = {"trial": [3, 3, 3, 5], "step": [1, 2, 3, 1], "phase": ["head", "depth", "depth", "head"]}
    pd.DataFrame({**rows, "val_qwk": [0.4, 0.3, 0.5, 0.1]}).to_csv(tmp_path / "epochs.csv")
    (tmp_path / "summary.json").write_text(json.dumps({"study": {"metric": "qwk"}}))
    assert read_curves(tmp_path) == [TrialCurve(2, True, 1, (0.4, 0.4, 0.5))]
