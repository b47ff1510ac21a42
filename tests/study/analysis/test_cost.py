"""Seconds against scores: the Pareto front, and what the chapter says of it."""

import pandas as pd
import pytest

from study.analysis import Withheld
from study.analysis.cost import cost
from study.report.chapters import cost as cost_chapter
from study.report.figures import cost_front

EPOCHS = pd.DataFrame({"trial": [0, 0, 1, 1], "cached": [True, True, False, True]})


def table(rows):
    columns = ["number", "depth", "seconds", "score"]
    told = pd.DataFrame(rows, columns=columns)
    return told.assign(val_accuracy_best=told["score"], device="cpu")


def test_front_holds_what_no_other_trial_beats_in_both():
    found = cost(table([(0, 1, 5.0, 0.5), (1, 2, 9.0, 0.7), (2, 2, 6.0, 0.4), (3, 0, 4.0, 0.3)]), EPOCHS, 10)
    assert [point.trial for point in found.front] == [3, 0, 1]
    assert [point.trial for point in found.points] == [3, 0, 2, 1]
    assert found.seconds == 24
    assert found.cached == 0.75


def test_of_equal_trials_one_is_on_the_front():
    found = cost(table([(0, 1, 5.0, 0.5), (1, 1, 5.0, 0.5), (2, 1, 5.0, 0.6), (3, 1, 7.0, 0.6)]), EPOCHS, 10)
    assert [point.trial for point in found.front] == [2]


def test_seconds_of_a_depth_have_an_interval_from_five_trials_on():
    found = cost(table([(n, n // 5, 1.0 + n, 0.5) for n in range(9)]), EPOCHS, 10)
    many, few = found.by_depth
    assert (many.n, many.seconds.value) == (5, 3)
    assert many.seconds.low < 3 < many.seconds.high
    assert few.seconds.low is None


@pytest.mark.parametrize("rows", [[], [(0, 1, None, 0.5)]])
def test_without_seconds_nothing_is_said(rows):
    assert isinstance(cost(table(rows), EPOCHS, 10), Withheld)


def test_chapter_names_the_best_the_quickest_and_the_devices():
    told = table([(0, 1, 5.0, 0.5), (1, 2, 9.0, 0.7)])
    found = cost(told.assign(device=["cpu", "cuda"]), EPOCHS, 10)
    said = cost_chapter.cost_text(found)
    assert "trial 1 at depth 2, took 9.0 s" in said
    assert "trial 0 at depth 1, 5.0 s" in said
    assert "2 kinds of device" in said


def test_figure_shows_likelihoods_as_they_are_known_with_the_better_ones_above():
    told = table([(0, 1, 5.0, -1.2), (1, 2, 9.0, -1.0)]).assign(val_accuracy_best=0.5)
    drawing = cost_front(cost(told, EPOCHS, 10), "nll")
    assert list(drawing.data[0].y) == [1.2, 1.0]
    assert drawing.layout.yaxis.title.text == "validation negative log likelihood"
    assert drawing.layout.yaxis.autorange == "reversed"


def test_seconds_far_apart_are_written_out_on_their_axis():
    drawing = cost_front(cost(table([(0, 1, 1.5, 0.5), (1, 2, 90.0, 0.7)]), EPOCHS, 10), "accuracy")
    assert drawing.layout.xaxis.type == "log"
    assert {"2", "5", "10", "20", "50"} <= set(drawing.layout.xaxis.ticktext)
