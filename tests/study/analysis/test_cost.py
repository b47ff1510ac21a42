"""Seconds against scores: the Pareto front, and the text of the chapter."""

import pandas as pd
import pytest

from study.analysis import Withheld
from study.analysis.cost import cost
from study.report.chapters import cost as cost_chapter
from study.report.figures import cost_front

EPOCHS = pd.DataFrame({"trial": [0, 0, 1, 1], "cached": [True, True, False, True]})


def table(rows):
    columns = ["number", "depth", "seconds", "score"]
    trials = pd.DataFrame(rows, columns=columns)
    return trials.assign(val_accuracy_best=trials["score"], device="cpu")


def test_front_contains_the_trials_that_no_other_dominates():
    result = cost(table([(0, 1, 5.0, 0.5), (1, 2, 9.0, 0.7), (2, 2, 6.0, 0.4), (3, 0, 4.0, 0.3)]), EPOCHS, 10)
    assert [point.trial for point in result.front] == [3, 0, 1]
    assert [point.trial for point in result.points] == [3, 0, 2, 1]
    assert result.seconds == 24
    assert result.cached == 0.75


def test_one_of_equal_trials_is_on_the_front():
    result = cost(table([(0, 1, 5.0, 0.5), (1, 1, 5.0, 0.5), (2, 1, 5.0, 0.6), (3, 1, 7.0, 0.6)]), EPOCHS, 10)
    assert [point.trial for point in result.front] == [2]


def test_seconds_of_a_depth_have_an_interval_from_five_trials_on():
    result = cost(table([(n, n // 5, 1.0 + n, 0.5) for n in range(9)]), EPOCHS, 10)
    many, few = result.by_depth
    assert (many.n, many.seconds.value) == (5, 3)
    assert many.seconds.low < 3 < many.seconds.high
    assert few.seconds.low is None


@pytest.mark.parametrize("rows", [[], [(0, 1, None, 0.5)]])
def test_cost_is_withheld_without_seconds(rows):
    assert isinstance(cost(table(rows), EPOCHS, 10), Withheld)


def test_chapter_names_the_best_the_quickest_and_the_devices():
    trials = table([(0, 1, 5.0, 0.5), (1, 2, 9.0, 0.7)])
    result = cost(trials.assign(device=["cpu", "cuda"]), EPOCHS, 10)
    text = cost_chapter.cost_text(result)
    assert "trial 1 at depth 2, took 9.0 s" in text
    assert "trial 0 at depth 1, 5.0 s" in text
    assert "2 kinds of device" in text


def test_figure_shows_positive_likelihoods_with_the_better_ones_above():
    trials = table([(0, 1, 5.0, -1.2), (1, 2, 9.0, -1.0)]).assign(val_accuracy_best=0.5)
    figure = cost_front(cost(trials, EPOCHS, 10), "nll")
    assert list(figure.data[0].y) == [1.2, 1.0]
    assert figure.layout.yaxis.title.text == "validation negative log likelihood"
    assert figure.layout.yaxis.autorange == "reversed"


def test_log_axis_of_seconds_has_plain_tick_labels():
    figure = cost_front(cost(table([(0, 1, 1.5, 0.5), (1, 2, 90.0, 0.7)]), EPOCHS, 10), "accuracy")
    assert figure.layout.xaxis.type == "log"
    assert {"2", "5", "10", "20", "50"} <= set(figure.layout.xaxis.ticktext)
