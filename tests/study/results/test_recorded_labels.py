"""A study keeps its classes, their order and its test part."""

import json

import pytest

from drft.data.dataset import GRADES
from study.analysis.summary import summarize
from study.report.chapters import test_set
from study.report.tables import trial_headings
from study.results.open_dataset import recorded_labels
from study.results.study_results import read_study
from tests.helpers.small_study import metadata


def test_labels_are_read_again_as_in_the_first_run():
    options = {"classes": "a,b", "test_fraction": "0.2", "test_seed": "1", "images": "elsewhere"}
    expected = {"classes": "a,b", "test_fraction": "0.2", "test_seed": "1"}
    assert recorded_labels({"ordinal": False}, options) == expected
    assert recorded_labels({}, {"images": "elsewhere"}) == {"label_rules": "0.1"}
    assert recorded_labels({"ordinal": True}, {"label_rules": "0.1"}) == {"label_rules": "0.1"}


FACTS = {"fingerprint": "bb", "name": "labels", "grades": ["a", "b"], "ordinal": False, "test_part": None}


@pytest.mark.parametrize(
    ("recorded", "conflict"),
    [
        ({}, []),
        ({"ordinal": True}, ["other classes (a, b, ordered there, a, b, not ordered here)"]),
        ({"grades": ["a", "c"]}, ["other classes (a, c, not ordered there, a, b, not ordered here)"]),
        (
            {"test_part": {"fraction": 0.25, "seed": 3}},
            ["another --test-fraction (0.25, seed 3 there, none here)"],
        ),
    ],
)
def test_other_classes_or_another_test_part_are_a_conflict(recorded, conflict):
    there = metadata(dataset={**FACTS, **recorded}).attributes()
    assert metadata(dataset=FACTS).conflicts(there) == conflict


def test_a_study_of_version_0_1_is_ordinal_and_kappa_is_of_ordered_classes_alone(make_study, tmp_path):
    make_study(tmp_path, "old")
    old = read_study("old", tmp_path)
    assert (old.info.ordinal, old.info.is_retinopathy, old.info.classes) == (True, True, GRADES)
    assert old.complete["val_qwk_best"].notna().all()
    make_study(tmp_path, "new", cohort=json.dumps(FACTS))
    new = read_study("new", tmp_path)
    assert (new.info.ordinal, new.info.is_retinopathy, new.info.classes) == (False, False, ("a", "b"))
    assert new.complete["val_qwk_best"].isna().all()
    assert new.epochs["val_qwk"].isna().all()
    assert "QWK, best epoch" in trial_headings(old.info)
    assert "QWK, best epoch" not in trial_headings(new.info)


def test_next_commands_name_a_confirmation_only_where_there_are_test_images(make_study, tmp_path):
    split = {"n_train": 30, "n_validation": 60, "n_test": 0, "seed": 0, "validation_fraction": 0.2}
    make_study(tmp_path, "closed")
    make_study(tmp_path, "none", split=json.dumps(split))
    for name, named in (("closed", True), ("none", False)):
        results = read_study(name, tmp_path)
        text = json.dumps(test_set.chapter(results, summarize(results)), default=str)
        assert ("drft-study confirm" in text) == named
        assert ("--test-fraction 0.2" in text) != named
