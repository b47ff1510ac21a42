"""Replaying pruners on trials that ran to their end."""

import json

import pandas as pd
import pytest

from benchmarks.pruners import Course, measure, read_courses, replay, table

STEPS = 10


def course(talent: float, *, control: bool = False) -> Course:
    return Course(1, control, 3, tuple(talent + 0.01 * step for step in range(STEPS)))


def test_median_stops_the_weak_after_the_head_phase_and_lets_the_control_arm_run() -> None:
    strong, weak = [course(0.5)] * 6, course(0.1)
    found = replay([*strong, weak], "median")
    assert found.stopped == (*[False] * 6, True)
    assert found.saved == pytest.approx(6 / 70)  # stopped at step 4 of 10
    spared = replay([*strong, course(0.1, control=True)], "median")
    assert spared.stopped == found.stopped
    assert spared.saved == 0


def test_shares_of_the_best_that_were_stopped() -> None:
    courses = [course(0.1 + 0.01 * place) for place in range(24)]  # each better than all before: none is weak
    found = measure(courses, "predictive", orders=2, seed=0)
    assert found["own"] == {"stopped": 0, "saved": 0, "few": 0, "quarter": 0}
    assert found["random"] == measure(courses, "predictive", orders=2, seed=0)["random"]
    assert [row[:2] for row in table({"predictive": found})[1]] == [("predictive", "own"), ("predictive", "random")]


def test_courses_are_read_from_a_report(tmp_path) -> None:
    pd.DataFrame({"number": [3, 5], "state": ["COMPLETE", "PRUNED"], "depth": [2, 1], "control": [True, False]}).to_csv(
        tmp_path / "trials.csv"
    )
    rows = {"trial": [3, 3, 3, 5], "step": [1, 2, 3, 1], "phase": ["head", "depth", "depth", "head"]}
    pd.DataFrame({**rows, "val_qwk": [0.4, 0.3, 0.5, 0.1]}).to_csv(tmp_path / "epochs.csv")
    (tmp_path / "summary.json").write_text(json.dumps({"study": {"metric": "qwk"}}))
    assert read_courses(tmp_path) == [Course(2, True, 1, (0.4, 0.4, 0.5))]
