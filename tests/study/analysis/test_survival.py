import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.analysis import Withheld
from study.analysis.survival import kaplan_meier, lasting_peak, peak_survival

BASE = {"head_phase": {"epochs": 3}, "depth_phase": {"epochs": 7}}


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1, 2, 3, 4, 5, 4, 4], 5),
        ([1, 2, 3, 4, 5, 4], None),  # one epoch is not enough to tell
        ([1, 2, 3, 4, 4, 4], 4),  # an equal score is no new best
        ([3, 2, 2, 2, 2], 3),  # a peak in the head phase counts at its last epoch
        ([3, 2, 2, 2, 4, 3, 3], 5),  # ... unless the depth phase surpasses it in time
        ([1, 2, 3, 5, 4, 6, 5, 5], 6),
        ([1, 2], None),
    ],
)
def test_lasting_peak_by_hand(scores, expected):
    assert lasting_peak(np.array(scores, dtype=float), head=3, patience=2) == expected


def test_kaplan_meier_of_a_published_example():
    # Remission of leukaemia under 6-MP, in weeks (Freireich et al. 1963; Collett, Modelling Survival Data, table 2.3).
    seen = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    curve = kaplan_meier(np.array(seen + censored), np.array([True] * 9 + [False] * 12))
    result = {rising.step: rising.share for rising in curve}
    published = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    assert {step: round(result[step].value, 3) for step in published} == published
    assert [result[step].n for step in published] == [21, 17, 15, 12, 11, 7, 6]
    assert (result[6].low, result[6].high) == pytest.approx((0.6197, 0.9516), abs=5e-4)  # R, conf.type = "log-log"


@given(st.lists(st.integers(1, 9), min_size=2, max_size=40))
def test_without_censoring_the_curve_is_the_share_of_later_peaks(times):
    array = np.array(times)
    for rising in kaplan_meier(array, np.ones(len(array), dtype=bool)):
        assert rising.share.value == pytest.approx((array > rising.step).mean())


def study(curves, pruned_at=()):
    trials = pd.DataFrame(
        {
            "number": range(len(curves)),
            "state": ["PRUNED" if n in pruned_at else "COMPLETE" for n in range(len(curves))],
            "ending": ["pruned" if n in pruned_at else "completed" for n in range(len(curves))],
            "best_step": [int(np.argmax(curve)) + 1 for curve in curves],
            "last_step": [len(curve) for curve in curves],
        }
    )
    rows = [(n, step, score) for n, curve in enumerate(curves) for step, score in enumerate(curve, start=1)]
    return trials, pd.DataFrame(rows, columns=["trial", "step", "val_accuracy"])


def peaking_at(step, steps=10):
    return [0.5 - 0.01 * abs(step - s) for s in range(1, steps + 1)]


def test_pruned_trials_count_up_to_their_last_epoch():
    curves = [peaking_at(step) for step in (4, 4, 5, 5, 6, 6, 7, 7)] + [peaking_at(9, steps=6)] * 4
    result = peak_survival(*study(curves, pruned_at={8, 9, 10, 11}), BASE, "accuracy")
    assert (result.n, result.peaked, result.pruned, result.unseen) == (12, 8, 4, 0)
    shares = {rising.step: rising.share.value for rising in result.curve}
    # By hand: at step 4 two of twelve peak and then four leave; at 5 two of the six left, and so on.
    assert shares == pytest.approx({4: 10 / 12, 5: 10 / 12 * 4 / 6, 6: 10 / 12 * 2 / 6, 7: 0})
    assert result.median.value == 6
    assert (result.at_least, result.at_most) == (6, 6.5)  # the pruned ones: at their step 6, or all at step 10


def test_trial_that_was_pruned_too_early_is_left_out():
    curves = [peaking_at(5)] * 10 + [peaking_at(9, steps=4)] * 3
    result = peak_survival(*study(curves, pruned_at={10, 11, 12}), BASE, "accuracy")
    assert (result.n, result.unseen, result.median.value) == (10, 3, 5)


def test_median_that_is_not_reached_is_withheld():
    result = peak_survival(*study([peaking_at(4)] * 3 + [peaking_at(10)] * 9), BASE, "accuracy")
    assert isinstance(result.median, Withheld)
    assert "more than half" in result.median.reason


def test_patience_follows_the_depth_phase_and_never_outlasts_early_stopping():
    curves = [peaking_at(6)] * 10
    long = BASE | {"depth_phase": {"epochs": 12}}
    assert peak_survival(*study(curves), long, "accuracy").patience == 4
    stopping = long | {"early_stopping": {"patience": 3}}
    assert peak_survival(*study(curves), stopping, "accuracy").patience == 3


def test_few_trials_are_withheld():
    result = peak_survival(*study([peaking_at(6)] * 9), BASE, "accuracy")
    assert isinstance(result, Withheld)
    assert "at least 10 trials" in result.reason
