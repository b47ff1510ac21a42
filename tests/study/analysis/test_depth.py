import pandas as pd
import pytest

from study.analysis import Withheld
from study.analysis.depth import depth_curves, depth_table
from study.analysis.history import history
from study.analysis.peak import best_versus_last, peak
from study.results.study_results import read_study


def trial(number, depth, best, last, *, best_step=2, last_step=4, phase="depth", train=0.9, state="COMPLETE"):
    return {
        "number": number,
        "state": state,
        "depth": depth,
        "depth_fraction": depth / 4,
        "trainable_fraction": depth / 5,
        "score": best,
        "val_accuracy_best": best,
        "val_accuracy_last": last,
        "gap_best": train - best,
        "gap_last": train - last,
        "best_step": best_step,
        "last_step": last_step,
        "best_phase": phase,
    }


def table(*rows):
    return pd.DataFrame(list(rows) or [], columns=list(trial(0, 0, 0, 0)))


def test_depth_table_by_hand():
    rows = depth_table(table(trial(0, 2, 0.6, 0.5), trial(1, 2, 0.7, 0.6), trial(2, 0, 0.5, 0.5, train=0.5)), 100)
    assert [(row.depth, row.n, row.best_trial, row.best.value) for row in rows] == [(0, 1, 2, 0.5), (2, 2, 1, 0.7)]
    assert rows[1].gap_best.value == pytest.approx(0.25)
    assert rows[1].gap_last.value == pytest.approx(0.35)
    assert rows[1].accuracy.sd == pytest.approx(0.0707106781)
    assert rows[0].gap_last[:3] == (0.0, None, None)


def test_best_trial_of_a_depth_is_the_first_on_ties():
    rows = depth_table(table(trial(5, 1, 0.6, 0.6), trial(3, 1, 0.6, 0.5)), 10)
    assert rows[0].best_trial == 3


def test_all_statistics_are_withheld_without_completed_trials():
    empty = table()
    epochs = pd.DataFrame(columns=["trial", "step", "phase", "train_accuracy", "val_accuracy"])
    results = [
        depth_table(empty, 10),
        depth_curves(empty, epochs),
        peak(empty),
        best_versus_last(empty),
        history(empty),
    ]
    assert all(isinstance(statistic, Withheld) for statistic in results)


def epochs_of(number, train, validation, head=1):
    return [
        {
            "trial": number,
            "step": step,
            "phase": "head" if step <= head else "depth",
            "train_accuracy": a,
            "val_accuracy": b,
        }
        for step, (a, b) in enumerate(zip(train, validation, strict=True), start=1)
    ]


def test_curves_are_medians_of_completed_trials():
    epochs = pd.DataFrame(
        epochs_of(0, [0.4, 0.6, 0.8], [0.4, 0.5, 0.5])
        + epochs_of(1, [0.5, 0.7, 0.9], [0.5, 0.6, 0.5])
        + epochs_of(2, [0.6, 0.8, 1.0], [0.6, 0.7, 0.5])
        + epochs_of(3, [0.0, 0.0, 0.0], [0.0, 0.0, 0.0])  # not among the completed
    )
    complete = table(*(trial(number, 3, 0.6, 0.5) for number in range(3)))
    (curve,) = depth_curves(complete, epochs)
    assert (curve.depth, curve.n, curve.head_steps, curve.steps) == (3, 3, 1, (1, 2, 3))
    assert [middle for _, middle, _ in curve.train] == [0.5, 0.7, 0.9]
    assert curve.validation[1] == pytest.approx((0.55, 0.6, 0.65))


def test_curve_ends_where_fewer_than_half_of_its_trials_are_left():
    epochs = pd.DataFrame(
        epochs_of(0, [0.5] * 4, [0.5] * 4) + epochs_of(1, [0.5] * 2, [0.5] * 2) + epochs_of(2, [0.5] * 2, [0.5] * 2)
    )
    (curve,) = depth_curves(table(*(trial(number, 1, 0.6, 0.5) for number in range(3))), epochs)
    assert curve.steps == (1, 2)


def test_peak_by_hand():
    result = peak(
        table(
            trial(0, 1, 0.6, 0.5, best_step=1, phase="head"),
            trial(1, 1, 0.6, 0.5, best_step=3),
            trial(2, 1, 0.6, 0.6, best_step=4),
            trial(3, 1, 0.6, 0.5, best_step=3),
        )
    )
    assert result.best_step.value == 3
    assert (result.before_last.value, result.in_head_phase.value) == (0.75, 0.25)
    assert [(c.step, c.head, c.depth) for c in result.counts] == [(1, 1, 0), (2, 0, 0), (3, 0, 2), (4, 0, 1)]


def test_best_versus_last_by_hand():
    result = best_versus_last(table(*(trial(n, 1, 0.60, 0.60 - 0.01 * n) for n in range(6))))
    assert result.difference.value == pytest.approx(0.025)
    assert 0.01 < result.difference.low < 0.025 < result.difference.high < 0.04
    assert result.pairs[5] == (5, 1, 0.60, pytest.approx(0.55))


def test_best_versus_last_of_four_trials_is_withheld():
    result = best_versus_last(table(*(trial(n, 1, 0.6, 0.5) for n in range(4))))
    assert isinstance(result, Withheld)
    assert "at least 5 completed trials, there are 4" in result.reason


def test_planted_effects_are_found_in_a_synthetic_study(demo):
    read = read_study("demo", demo)
    rows = depth_table(read.complete, 83)
    assert sum(row.n for row in rows) == len(read.complete)
    assert rows[-1].gap_last.low > rows[0].gap_last.high  # the gap grows with depth
    assert peak(read.complete).before_last.low > 0.5
    assert best_versus_last(read.complete).difference.low > 0


def test_history_includes_pruned_trials_but_no_failed_ones(demo):
    results = history(read_study("demo", demo).trials)
    assert {point.state for point in results} == {"COMPLETE", "PRUNED"}
