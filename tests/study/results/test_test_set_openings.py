"""Who opened the test images is known to the study, to its copies, and to other studies of the same images."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from optuna.trial import TrialState

from drft.data import open_dataset
from study.analysis import summarize
from study.analysis.evidence import read_verdict
from study.export.card import ensemble_card
from study.report.json_csv import summary
from study.report.provenance import limits, provenance
from study.report.status import status_lines
from study.results.locate import StudyLocation
from study.results.predictions_file import name_damage
from study.results.study_results import read_study
from study.results.test_set_openings import FILE, Opening, find_openings, own_opening, record_opening
from study.setup.plan import about_dataset
from tests.helpers.small_images import draw_noise, write_table

COMPLETE = TrialState.COMPLETE
DATA = {"fingerprint": "ab" * 32}
"""Of the data set of the made studies."""


@pytest.fixture
def results(make_study, tmp_path):
    """A folder with the studies ``one``, which opened its test images, and ``two`` of the same data set."""
    for name in ("one", "two"):
        make_study(tmp_path, name, [COMPLETE] * 3)
    record_opening(read_study("one", tmp_path).location, DATA)
    return tmp_path


def openings(results, name="two", data=DATA):
    return find_openings(StudyLocation(name, f"sqlite:///{results / name / 'study.db'}", results / name), data)


def test_nobody_has_opened_the_images_of_a_new_study(tmp_path):
    assert openings(tmp_path) == ()


def test_another_study_of_the_same_data_set_knows_and_one_of_others_does_not(results):
    (opening,) = openings(results)
    assert opening.study == "one"
    assert opening.before(datetime.now() + timedelta(seconds=5))  # noqa: DTZ005 (Optuna's times are naive)
    assert not opening.before(datetime.now() - timedelta(days=1))  # noqa: DTZ005
    assert openings(results, "three") == (opening,)  # which does not exist yet
    assert openings(results, data={"fingerprint": "cd" * 32}) == ()


def test_a_study_of_the_same_test_images_with_corrected_labels_knows(results):
    test = "ef" * 32
    record_opening(read_study("two", results).location, {"fingerprint": "cd" * 32, "test_fingerprint": test})
    corrected = {"fingerprint": "01" * 32, "test_fingerprint": test}
    assert [opening.study for opening in openings(results, "three", corrected)] == ["two"]
    assert openings(results, "three", corrected | {"test_fingerprint": ""}) == ()


def test_corrections_do_not_change_the_fingerprint_of_the_test_images(tmp_path):
    for number in range(12):
        draw_noise(tmp_path / f"p{number}.png", number, 30 * (number % 2))
    rows = [(f"p{number}.png", "ab"[number % 2], "test" if number > 8 else "train") for number in range(12)]
    write_table(tmp_path / "labels.csv", ("image", "label", "split"), *rows)
    (tmp_path / "decided.csv").write_text("id,proposed,decision\ntrain/p1,a,relabel\ntrain/p2,,exclude\n")
    source, columns = str(tmp_path / "labels.csv"), {"origin_column": "split"}
    decided = dict.fromkeys(("exclude", "relabel"), str(tmp_path / "decided.csv"))
    given, corrected = (about_dataset(open_dataset(source, options=columns | more)) for more in ({}, decided))
    assert given["fingerprint"] != corrected["fingerprint"]
    assert given["test_fingerprint"] == corrected["test_fingerprint"] != ""
    write_table(tmp_path / "labels.csv", ("image", "label", "split"), *((*row[:2], "train") for row in rows))
    assert about_dataset(open_dataset(source, options=columns))["test_fingerprint"] == ""


def test_it_is_recorded_once(results):
    before = (results / FILE).read_text(), openings(results, "one")
    record_opening(read_study("one", results).location, DATA)
    assert ((results / FILE).read_text(), openings(results, "one")) == before


def test_a_copy_of_the_study_knows_under_any_name_and_in_any_folder(results, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(results / "one", elsewhere / "renamed")
    copied = read_study("renamed", elsewhere)
    assert find_openings(copied.location, DATA) == openings(results, "one")
    assert own_opening(copied.location) is not None


def test_several_openings_are_listed_by_date(results):
    with (results / FILE).open("a") as file:
        file.write(json.dumps({"study": "zero", "opened": "2020-02-02T00:00:00+00:00", **DATA}) + "\n")
    assert [opening.study for opening in openings(results)] == ["zero", "one"]


def test_openings_are_ordered_by_their_moments_and_not_by_their_texts(results):
    with (results / FILE).open("a") as file:
        for study, opened in (("late", "2020-02-02T01:00:00-09:00"), ("early", "2020-02-02T09:00:00+00:00")):
            file.write(json.dumps({"study": study, "opened": opened, **DATA}) + "\n")
    assert [opening.study for opening in openings(results)] == ["early", "late", "one"]


def test_the_end_of_a_confirmation_is_recorded_with_its_time_zone(results, monkeypatch):
    ended = datetime(2020, 2, 2, 12)  # noqa: DTZ001 (Optuna's times are naive)
    info = SimpleNamespace(finished=ended)
    confirmation = SimpleNamespace(finished=True, results=SimpleNamespace(info=info))
    monkeypatch.setattr("study.results.test_set_openings.read_planned_study", lambda *_: confirmation)
    opening = own_opening(read_study("two", results).location)
    assert opening == Opening("two", ended.astimezone(UTC).isoformat())


def test_a_damaged_line_is_named_and_costs_itself_alone(results, capsys):
    (results / FILE).write_bytes(b'{"study": \xff\n[]\n' + (results / FILE).read_bytes())
    assert [opening.study for opening in openings(results)] == ["one"]
    told = capsys.readouterr().err
    assert "line 1 of" in told
    assert "line 2 of" in told


@pytest.mark.parametrize("date", ["yesterday", 7])
def test_a_date_that_is_none_is_named(results, capsys, date):
    name_damage.cache_clear()  # each line is printed once in a process
    read_study("two", results).location.open().set_user_attr("test_set_opened", date)
    with (results / FILE).open("a") as file:
        file.write(json.dumps({"study": "two", "opened": date, **DATA}) + "\n")
    assert [opening.study for opening in openings(results)] == ["one"]
    told = capsys.readouterr().err
    assert "is no date" in told
    assert "line 2 of" in told


def test_a_foreign_study_with_the_name_of_a_confirmation_is_named(make_study, results, capsys):
    make_study(results, "two.confirm", [COMPLETE], "two")
    assert [opening.study for opening in openings(results)] == ["one"]
    assert "has the name of a planned part" in capsys.readouterr().err


def test_a_damaged_data_set_costs_the_status_the_openings_of_others(results):
    read_study("one", results).location.open().set_user_attr("cohort", "{")
    assert any("opened on" in line and "by study one" in line for line in status_lines("one", results))
    read_study("two", results).location.open().set_user_attr("cohort", "{")
    assert not any("opened on" in line for line in status_lines("two", results))


def test_status_report_summary_and_card_say_so(results):
    two = read_study("two", results)
    opened = r"opened on \d{4}-\d\d-\d\d by study one"
    assert any(re.search(f"test set  {opened}", line) for line in status_lines("two", results))
    assert any(re.search(opened, limit) for limit in limits(two))
    assert re.search(opened, dict(provenance(two))["Split"])
    assert [entry["study"] for entry in summary(two, summarize(two))["data"]["test_set_openings"]] == ["one"]
    one = read_study("one", results)
    assert not any("The test images were" in limit for limit in limits(one))  # its trials were chosen before
    assert any("test set  opened" in line for line in status_lines("one", results))


def test_a_trial_after_the_opening_is_a_limit_of_the_study_itself(results):
    one = read_study("one", results)
    attributes = one.location.open()
    attributes.set_user_attr("test_set_opened", "2020-02-02T00:00:00+00:00")
    assert any("opened on 2020-02-02 by study one" in limit for limit in limits(one))
    assert Opening("one", "2020-02-02T00:00:00+00:00") in find_openings(one.location, DATA)


def test_a_file_that_claims_a_confirmation_is_not_believed(add_finalists, make_study, tmp_path):

    make_study(tmp_path, "demo", [COMPLETE] * 3, goal="depth")
    add_finalists(tmp_path, "demo", [0.5, 0.7])
    study = read_study("demo", tmp_path)
    claim = {"promise": {"check": {"outcome": "kept"}, "models": [{"accuracy": {"value": 0.99}}]}}
    (study.info.folder / "confirm").mkdir()
    (study.info.folder / "confirm" / "summary.json").write_text(json.dumps(claim))
    config = study.config(0)
    card = ensemble_card(
        study, read_verdict(study), config, mean=[0.5] * 3, std=[0.5] * 3, members=5, varied=False, onnx=False
    )
    assert "Not scored" in card
    assert "99" not in card.partition("## Test images")[2].partition("##")[0]


@pytest.mark.parametrize("missing", [0, 1])
def test_the_card_says_if_the_tested_model_was_another_one(add_finalists, make_study, tmp_path, missing):
    make_study(tmp_path, "demo", [COMPLETE] * 3, goal="depth")
    add_finalists(tmp_path, "demo", [0.5, 0.7])
    study = read_study("demo", tmp_path)
    record_opening(study.location, DATA)
    verdict = read_verdict(study)
    estimate = {"value": 0.514, "low": 0.4, "high": 0.6, "n": 12, "sd": None}
    tested = {"depth": verdict.recommended_depth, "members": len(verdict.trials) + missing}
    promise = {"check": {"outcome": "kept"}, "models": [{**tested, "accuracy": estimate, "qwk": estimate}]}
    (study.info.folder / "confirm").mkdir()
    (study.info.folder / "confirm" / "summary.json").write_text(json.dumps({"promise": promise}))
    card = ensemble_card(
        study, verdict, study.config(0), mean=[0.5] * 3, std=[0.5] * 3, members=10, varied=False, onnx=False
    )
    section = card.partition("## Test images")[2].partition("##")[0]
    assert "| accuracy | 51.4% | 40.0 to 60.0 |" in section
    assert ("promise of the section above was kept" in section) == (missing == 0)
    assert ("Not of this model" in section) == (missing == 1)
