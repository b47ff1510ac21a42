"""Early ranking: ranks and recall by hand, and the text of the chapter."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from study.analysis import Withheld
from study.analysis.early import early_ranking
from study.analysis.estimators.intervals import exact_proportion
from study.report.chapters.early import early_text, first_sure_step

BASE = {"head_phase": {"epochs": 1}, "depth_phase": {"epochs": 2}}
FINAL = np.arange(12) / 12


def tables(curves, *, depth=1, control=False, pruned=0):
    numbers = range(len(curves))
    complete = pd.DataFrame({"number": numbers, "depth": depth, "control": control, "state": "COMPLETE"})
    rows = [(n, step, score) for n, curve in zip(numbers, curves, strict=True) for step, score in enumerate(curve, 1)]
    epochs = pd.DataFrame(rows, columns=["trial", "step", "val_accuracy"])
    pruned_trials = pd.DataFrame({"number": range(100, 100 + pruned), "state": "PRUNED"})
    return pd.concat([complete, pruned_trials]), complete, epochs


def test_tau_of_equal_and_of_reversed_ranks():
    result = early_ranking(*tables([(-score, score / 2, score) for score in FINAL]), BASE, "accuracy")
    first, second = result.everyone.looks
    assert (first.step, first.n, first.tau.value) == (1, 12, pytest.approx(-1))
    assert (second.step, second.tau.value) == (2, pytest.approx(1))
    assert first.recall == exact_proportion(0, 3)  # the best quarter were the last of all
    assert second.recall == exact_proportion(3, 3)
    assert result.everyone.head == first._replace(step=None)
    assert first_sure_step(result.everyone) == 2


def test_best_score_so_far_counts_and_not_the_last():
    curves = [(0.5, 0.1, score) for score in FINAL]
    at_two = early_ranking(*tables(curves), BASE, "accuracy").everyone.looks[1]
    end = np.maximum(FINAL, 0.5)
    assert isinstance(at_two.tau, Withheld)  # all still have their 0.5
    curves = [(score, 0.0, 0.5) for score in FINAL]
    at_two = early_ranking(*tables(curves), BASE, "accuracy").everyone.looks[1]
    assert at_two.tau.value == pytest.approx(stats.kendalltau(FINAL, end).statistic)


def test_ties_at_the_edge_count_as_inside():
    early_scores = [0.1, 0.5, 0.5, 0.5, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]  # the sixth best ties down to the last
    final = [0.9, 0.8, 0.7, 0.7, *[0.6] * 8]  # the third best ties with the fourth
    result = early_ranking(*tables(list(zip(early_scores, final, strict=True))), BASE, "accuracy")
    assert result.everyone.looks[0].recall == exact_proportion(4, 4)


def test_each_trial_has_its_own_end_of_the_head_phase():
    trials, complete, epochs = tables([(-score, score, 2.0 + score) for score in FINAL])
    complete["head_phase.epochs"] = [2] * 11 + [0]
    head = early_ranking(trials, complete, epochs, BASE, "accuracy").everyone.head
    assert (head.n, head.tau.value) == (11, pytest.approx(1))  # one has none


def test_depths_and_control_arm_need_ten_trials():
    depth = [0] * 10 + [1] * 9
    control = [True] * 9 + [False] * 10
    curves = [(score, score + 0.1, 1 + score) for score in np.arange(19) / 19]
    result = early_ranking(*tables(curves, depth=depth, control=control, pruned=3), BASE, "accuracy")
    assert [(group.depth, group.n) for group in result.depths] == [(0, 10)]
    assert "9 completed trials" in result.control.reason
    assert result.pruned == 3
    text = early_text(result)
    assert "tau of 1.00" in text
    assert "5 of the 5 trials that end in the best quarter" in text
    assert "3 pruned trials are not known" in text


def test_a_step_that_few_reached_and_too_few_trials_are_left_out():
    curves = [(score, score, 1 + score) for score in FINAL[:11]] + [(0.5, 0.5, 0.5, 0.6, 0.7)]
    assert [look.step for look in early_ranking(*tables(curves), BASE, "accuracy").everyone.looks] == [1, 2, 3]
    assert "there are 9" in early_ranking(*tables(curves[:9]), BASE, "accuracy").reason
    assert early_text(Withheld("x")) == "Not shown: x."


def test_interval_contains_tau_and_is_narrow_for_stable_ranks():
    rng = np.random.default_rng(0)
    curves = [(score + rng.normal(0, 0.2), 2 + score) for score in np.arange(40) / 40]
    tau = early_ranking(*tables(curves), BASE, "accuracy").everyone.looks[0].tau
    assert tau.low < tau.value < tau.high
    assert tau.high - tau.low < 0.5
