"""The opened test set: written whole, read as it was written, and refused if it is damaged."""

import json

import numpy as np
import pytest
from optuna.trial import TrialState

from drft.errors import StudyError
from study.analysis import Withheld, summarize
from study.analysis.summary import score_promise
from study.results.study_results import read_study
from study.results.test_set import (
    ModelPredictions,
    OpenedTestSet,
    PromisedAccuracy,
    opened_test_set_file,
    read_opened_test_set,
    write_opened_test_set,
)

GRADES = np.arange(30) % 5
OPENED = OpenedTestSet(
    "2026-11-26T12:00:00+00:00",
    PromisedAccuracy(0.6, 0.55, 0.65, 400),
    tuple(f"test/é{index}" for index in range(30)),
    GRADES,
    (
        ModelPredictions("recommended", 3, (4, 9), np.where(np.arange(30) < 20, GRADES, 0)),
        ModelPredictions("linear model", None, (), np.zeros(30, dtype=np.int64)),
    ),
    {"untuned": "all of its trainings diverged"},
)


@pytest.fixture
def study(make_study, tmp_path):
    return read_study("demo", make_study(tmp_path, states=[TrialState.COMPLETE] * 3))


def test_it_is_read_as_it_was_written(study):
    assert read_opened_test_set(study) is None
    assert summarize(study).promise_on_test is None
    write_opened_test_set(study, OPENED)
    again = read_opened_test_set(study)
    assert again.models[0].predicted.dtype == np.int64
    assert str(again) == str(OPENED)
    scores = score_promise(study)
    assert (scores.n_images, scores.missing) == (30, OPENED.missing)
    assert score_promise(study) == scores


def without_an_image(values):
    values["ids"].pop()


def of_a_later_version(values):
    values["schema"] = 2


def without_the_recommended_model(values):
    del values["models"][0]


def with_more_right_predictions(values):
    values["models"][0]["predicted"] = values["grades"]


def without_a_promise(values):
    del values["promise"]


@pytest.mark.parametrize(
    "damage",
    [
        without_an_image,
        of_a_later_version,
        without_the_recommended_model,
        without_a_promise,
        with_more_right_predictions,
        None,
    ],
)
def test_a_damaged_file_is_one_line_and_withheld_in_the_report(study, damage):
    write_opened_test_set(study, OPENED)
    path = opened_test_set_file(study.location)
    text = path.read_text(encoding="utf-8")
    if damage is None:
        path.write_text(text[: len(text) // 2])
    else:
        values = json.loads(text)
        damage(values)
        path.write_text(json.dumps(values))
    with pytest.raises(StudyError, match=r"opened\.json .* restore it from a copy") as caught:
        read_opened_test_set(study)
    assert len(str(caught.value).splitlines()) == 1
    assert isinstance(score_promise(study), Withheld)
