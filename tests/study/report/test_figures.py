import json

import pytest

from study.analysis import Curve
from study.analysis.importance import DimensionImportance, Importance
from study.report.figures import MAX_PANELS, curve_panels, evenly_spaced, importance_bars
from study.report.figures.axes import depth_markers, whole_ticks
from study.report.style import QUIET, VALIDATION


def curve(depth):
    return Curve(depth, 4, 1, (1, 2, 3), ((0.4, 0.5, 0.6),) * 3, ((0.3, 0.4, 0.5),) * 3)


@pytest.mark.parametrize("depths", [1, 6, MAX_PANELS, 25])
def test_each_depth_has_a_panel_up_to_twelve(depths):
    drawing = curve_panels([curve(depth) for depth in range(depths)], columns=3)
    titles = [note.text for note in drawing.layout.annotations]
    assert len(titles) == min(depths, MAX_PANELS)
    assert titles[0] == "depth 0 · n = 4"
    assert titles[-1].startswith(f"depth {depths - 1} ")


def test_train_is_dashed_and_validation_solid():
    lines = {trace.name: trace.line.dash for trace in curve_panels([curve(0)], 1).data if trace.name}
    assert lines == {"train accuracy": "dash", "validation accuracy": "solid"}


def test_evenly_spaced_keeps_order_and_both_ends():
    shown = [c.depth for c in evenly_spaced([curve(depth) for depth in range(40)])]
    assert len(shown) == MAX_PANELS
    assert shown == sorted(set(shown))
    assert (shown[0], shown[-1]) == (0, 39)


def test_importance_within_chance_is_grey():
    bars = (DimensionImportance("depth", 0.7, 0.3), DimensionImportance("lr", 0.3, 0.5))
    drawing = importance_bars(Importance("score", "ped-anova", 40, 0.125, bars, ()))
    assert {(trace.y, trace.marker.color) for trace in drawing.data} == {(("depth",), VALIDATION), (("lr",), QUIET)}


@pytest.mark.parametrize(("last", "ticks", "apart"), [(0, 5, 1), (2, 5, 1), (10, 5, 2), (11, 5, 3), (100, 12, 9)])
def test_ticks_are_whole(last, ticks, apart):
    assert whole_ticks(last, ticks)["dtick"] == apart


@pytest.mark.parametrize(("depths", "apart"), [((0, 1, 2), 1), ((3,), 1), ((10, 12), 1), ((0, 30), 6), ((), 1)])
def test_the_colour_bar_names_each_depth_once(depths, apart):
    assert depth_markers(depths)["colorbar"].items() >= {("tick0", 0), ("dtick", apart)}


def test_figures_are_plain_json():
    document = json.loads(curve_panels([curve(0)], 1).to_json())
    assert document["data"][1]["y"] == [0.5, 0.5, 0.5]
