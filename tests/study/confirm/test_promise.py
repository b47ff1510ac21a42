"""The promise: when it can be checked, and in words, whether it was kept and what few test images cannot show."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from optuna.trial import TrialState

from drft.errors import StudyError
from study.analysis import Withheld
from study.analysis.promise_on_test import check_promise, promise_on_test
from study.confirm.run import confirm_study
from study.confirm.verdict import promise_lines
from study.report.chapters.parts import Table, Text
from study.report.chapters.test_set import HELD_OUT, chapter, power_text, promise_text
from study.results.locate import StudyLocation
from study.results.study_results import read_study
from study.results.test_set import ModelPredictions, OpenedTestSet, PromisedAccuracy, opened_test_set_file
from study.results.test_set_openings import own_opening
from study.setup.options import RunOptions

PROMISE = PromisedAccuracy(0.61, 0.572, 0.648, 413)


def test_a_kept_promise():
    check = check_promise(PROMISE, 61, 103)
    assert promise_text(check) == (
        "The promise was kept: promised 61.0% (57.2 to 64.8), measured 59.2% on 103 test images "
        "(95% interval 49.6 to 68.2)."
    )
    assert "easily miss a shortfall of 10 points" in power_text(check)
    assert f"{100 * check.detectable:.1f} points is found with a probability of 80%" in power_text(check)


def test_many_images_need_no_excuse():
    assert power_text(check_promise(PROMISE, 3000, 5000)) == ""


def test_a_broken_promise():
    check = check_promise(PROMISE, 45, 103)
    assert promise_text(check).startswith("The promise was not kept: promised 61.0% (57.2 to 64.8), measured 43.7% on")
    assert power_text(check) == ""


def test_a_promise_that_cannot_be_checked():
    check = check_promise(PROMISE, 0, 1)
    assert promise_text(check).startswith("The promise cannot be checked: ")
    assert "on 1 test image (" in promise_text(check)
    assert "cannot show that a promise was broken" in power_text(check)


@pytest.fixture
def test_set():
    grades = np.arange(60) % 5
    predicted = [np.where(np.arange(60) < count, grades, (grades + 1) % 5) for count in (40, 30)]
    models = (
        ModelPredictions("recommended", 3, tuple(range(10)), predicted[0]),
        ModelPredictions("untuned", 2, tuple(range(5)), predicted[1]),
    )
    missing = {"linear model": "there is no floor: it was not computed"}
    return OpenedTestSet("2026-11-26T12:00:00+00:00", PROMISE, ("x",) * 60, grades, models, missing)


@pytest.fixture
def opened(test_set):
    return promise_on_test(test_set)


def test_the_first_line_says_whether_the_promise_was_kept(opened):
    lines = promise_lines(opened)
    assert lines[0] == promise_text(opened.check)
    recommended, untuned, linear = lines[2:5]
    assert re.match(r"  recommended \(depth 3, ensemble of 10\): test 66\.7% \(.*\), QWK 0\.\d\d \(.*\)$", recommended)
    assert re.match(r"  untuned \(depth 2, .* of 5\): .*; recommended minus untuned 16\.7 points \(.*\)$", untuned)
    assert linear == "  linear model: not scored, there is no floor: it was not computed"
    assert lines[5] == "The test set was opened once, on 2026-11-26."


def test_the_chapter_shows_it_once_the_test_set_is_open(opened, tmp_path):
    location = StudyLocation("demo", f"sqlite:///{tmp_path / 'demo' / 'study.db'}", tmp_path / "demo")
    info = SimpleNamespace(
        name="demo", dataset={"fingerprint": "ab"}, split={"n_test": 60}, arguments=lambda: ["my studies/demo"]
    )
    results = SimpleNamespace(info=info, location=location)
    statistics = SimpleNamespace(promise_on_test=None, test=None, swept=None, mixtures=None)
    (closed,) = chapter(results, statistics).parts
    assert HELD_OUT in closed.text
    assert "drft-study confirm 'my studies/demo'" in closed.text
    statistics.promise_on_test = opened
    parts = chapter(results, statistics).parts
    (table,) = [part for part in parts if isinstance(part, Table)]
    assert [row[:3] for row in table.rows] == [("recommended", "3", "10"), ("untuned", "2", "5")]
    texts = [part.text for part in parts if isinstance(part, Text)]
    assert texts[0].startswith(promise_text(opened.check))
    assert "Not scored: linear model, there is no floor" in texts[1]
    assert not any(HELD_OUT in text for text in texts)
    statistics.promise_on_test = Withheld("it is damaged")
    assert [part.text for part in chapter(results, statistics).parts] == ["Not shown: it is damaged."]


@pytest.mark.parametrize(
    ("n_test", "words"),
    [
        (0, "has no test images, so it cannot be confirmed"),
        (9, "makes no promise yet, the finalists of the depths are not trained yet: resume the run with `drft-study"),
    ],
)
def test_a_study_without_test_images_or_finalists_is_refused_in_one_line(make_study, tmp_path, n_test, words):
    split = {"n_train": 330, "n_validation": 83, "n_test": n_test, "seed": 0, "validation_fraction": 0.2}
    results = make_study(tmp_path, states=[TrialState.COMPLETE] * 3, goal="depth", split=json.dumps(split))
    with pytest.raises(StudyError, match=words) as caught:
        confirm_study("demo", RunOptions(results=results))
    assert len(str(caught.value).splitlines()) == 1
    assert not (results / "demo" / "confirm").exists()


def test_a_test_set_whose_file_was_lost_keeps_the_date_of_its_opening(make_study, test_set, tmp_path, monkeypatch):
    results = make_study(tmp_path, states=[TrialState.COMPLETE] * 3, goal="depth")
    monkeypatch.setattr("study.confirm.run.open_test_set", lambda *_: test_set)
    location = read_study("demo", results).location
    dates = []
    for _ in range(2):
        confirm_study("demo", RunOptions(results=results, report=False))
        dates.append(json.loads(opened_test_set_file(location).read_text())["opened"])
        opened_test_set_file(location).unlink()
    assert dates == [own_opening(location).opened] * 2
