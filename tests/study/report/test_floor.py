"""The floor is shown wherever the accuracy of a study is shown."""

import jsonschema
import numpy as np
import pytest
from optuna.trial import TrialState

from drft.config.trial_config import TrialConfig
from drft.training.records import FloorPredictions
from study.analysis import Withheld, proportion, summarize
from study.analysis.floor import score_floor
from study.compare.chapters import comparison_chapters
from study.compare.comparison import compare
from study.export.card import model_card
from study.report.chapters import all_figures, write_chapters
from study.report.json_csv import summary
from study.report.page import markdown_page
from study.report.png import image
from study.report.schema import summary_schema
from study.report.status import status_lines
from study.report.wording import answer
from study.results.floor import Floor, NoFloor, write_floor
from study.results.study_results import read_study

INPUTS = {"backbone": {"name": "mobilenetv2_100"}, "image_size": 224}


def made_floor(right: int, n: int) -> Floor:
    """Return a floor that predicts so many of n images correctly, of two grades."""
    grades = np.arange(n) % 2
    predicted = np.where(np.arange(n) < right, grades, 1 - grades)
    ids = tuple(f"train/{index}" for index in range(n))
    share = proportion(right, n)
    predictions = FloorPredictions(ids, grades, np.arange(n) % 5, np.eye(2)[predicted], (1.0,) * 5)
    return Floor(INPUTS, predictions, (share.low, share.high), "ridge", 2.4)


@pytest.fixture(scope="module")
def place(make_study, tmp_path_factory):
    """A results folder with a study ``with`` a floor and one ``without``."""
    results = tmp_path_factory.mktemp("floor")
    for name in ("with", "without"):
        make_study(results, name, [TrialState.COMPLETE] * 8)
    write_floor(results / "with", made_floor(240, 413), INPUTS)
    return results


@pytest.fixture(scope="module")
def results(place):
    return read_study("with", place)


@pytest.fixture(scope="module")
def statistics(results):
    return summarize(results)


def test_scores_are_those_of_the_predictions():
    scores = score_floor(made_floor(30, 40))
    assert (scores.n, scores.folds, scores.image_size, scores.backbone) == (40, 5, 224, "mobilenetv2_100")
    assert scores.accuracy == proportion(30, 40)
    assert scores.balanced_accuracy.value == pytest.approx(0.75)
    assert scores.qwk.value == pytest.approx(0.5)
    assert score_floor(NoFloor("no vector")) == Withheld("no vector")


def test_the_first_screen_and_the_chapter_on_depth_show_it(results, statistics):
    gain, *_ = answer(statistics)
    assert "a linear model on the frozen features of mobilenetv2_100, reaches 58.1% out of fold" in gain.text
    assert "(95% interval 53.3 to 62.8, n = 413 images)" in gain.text
    chapters = write_chapters(results, statistics)
    page = markdown_page(results, statistics, chapters)
    assert "floor: a linear model on frozen features, out of fold (53.3 to 62.8)" in page
    assert "58.1% of 413 training images (53.3 to 62.8), balanced accuracy 58.1%" in page
    (figure,) = (figure for figure in all_figures(chapters) if figure.id == "depth")
    (line,) = (trace for trace in figure.drawings["wide"].data if trace.name == "floor")
    assert set(line.y) == {round(240 / 413, 4)}
    assert image(figure.drawings["wide"]).startswith(b"\x89PNG")


def test_the_summary_has_it_beside_the_statistics(results, statistics):
    values = summary(results, statistics)
    jsonschema.validate(values, summary_schema())
    floor = values["floor"]
    assert floor["accuracy"] == {**proportion(240, 413)._asdict()}
    assert (floor["n"], floor["model"], floor["backbone"]) == (413, "ridge", "mobilenetv2_100")
    assert "floor" not in values["statistics"]


def test_status_card_and_comparison_show_it(place, results):
    text = "linear model on frozen features, 58.1% out of fold (n = 413, 95% interval 53.3 to 62.8)"
    assert f"  floor     {text}" in status_lines("with", place)
    card = model_card(results, results.complete.iloc[0].to_dict(), TrialConfig(), mean=[0] * 3, std=[1] * 3, onnx=False)
    assert f"## Floor\n\nFor comparison, without any fine-tuning of `mobilenetv2_100`: {text}." in card
    (table,) = (
        part
        for chapter in comparison_chapters(compare(["with", "without"], place))
        for part in chapter.parts
        if getattr(part, "title", "") == "The studies side by side"
    )
    assert ("floor", "58.1% (53.3 to 62.8)", "not computed") in table.rows


def test_a_study_of_an_older_version_is_shown_without_it(place):
    results = read_study("without", place)
    statistics = summarize(results)
    chapters = write_chapters(results, statistics)
    page = markdown_page(results, statistics, chapters)
    assert "is not shown: it was not computed; the command that created the study adds it" in page
    assert "floor" not in answer(statistics)[0].text
    assert not any(line.startswith("  floor") for line in status_lines("without", place))
    values = summary(results, statistics)
    jsonschema.validate(values, summary_schema())
    assert values["floor"]["withheld"].startswith("it was not computed")
