import csv
import json
import os
import re

import pandas as pd
import pytest
from click.testing import CliRunner
from optuna.trial import TrialState

from drft.errors import StudyError
from study.analysis import Estimate, Withheld
from study.cli.report import command
from study.report.json_csv import plain
from study.report.write import write_report
from study.results.study_results import read_study


@pytest.fixture(scope="module")
def report(make_study, tmp_path_factory):
    results = make_study(tmp_path_factory.mktemp("written"), "demo")
    return write_report("demo", results).parent


def test_report_has_exactly_its_files(report):
    files = sorted(path.name for path in report.iterdir())
    assert files == ["epochs.csv", "figures", "index.html", "report.md", "summary.json", "suspects.csv", "trials.csv"]


def test_markdown_shows_all_figures(report):
    shown = re.findall(r"!\[.+\]\((.+)\)", (report / "report.md").read_text())
    files = sorted(f"figures/{path.name}" for path in (report / "figures").iterdir())
    assert sorted(shown) == files
    assert "figures/curves.png" in files


def test_old_figures_are_removed(make_study, tmp_path):
    make_study(tmp_path, "shrunk", [TrialState.FAIL])
    page = write_report("shrunk", tmp_path)
    old = page.parent / "figures" / "peak.png"
    old.parent.mkdir(exist_ok=True)
    old.write_bytes(b"old")
    with (page.parent / "report.md").open("a") as file:
        file.write("\n![Peak](figures/peak.png)\n")
    write_report("shrunk", tmp_path)
    assert not old.exists()


def test_other_images_in_a_named_folder_stay(make_study, tmp_path):
    make_study(tmp_path, "demo", [TrialState.FAIL])
    own = tmp_path / "paper" / "figures" / "own.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"own")
    for _ in range(2):
        write_report("demo", tmp_path, out=tmp_path / "paper")
        assert own.read_bytes() == b"own"
        (tmp_path / "paper" / "report.md").write_bytes(b"\xff")  # the list of the former report's images is lost


@pytest.mark.parametrize("name", ["index.html", "report.md", "summary.json", "trials.csv"])
def test_a_named_folder_with_files_of_somebody_else_is_refused(make_study, tmp_path, name):
    make_study(tmp_path, "demo", [TrialState.FAIL])
    site = tmp_path / "site"
    site.mkdir()
    (site / name).write_bytes(b"<title>My page</title>\xff")
    with pytest.raises(StudyError, match=f"{site} holds {name} and no report of drft-study: name another folder"):
        write_report("demo", tmp_path, out=site)
    assert [path.name for path in site.iterdir()] == [name]
    assert (site / name).read_bytes() == b"<title>My page</title>\xff"


def test_a_named_folder_that_cannot_be_written_is_refused_with_its_option(make_study, tmp_path):
    make_study(tmp_path, "demo", [TrialState.FAIL])
    for folder, option in (("taken", "--out"), ("demo/report", "--results")):
        (tmp_path / folder).write_text("")
        with pytest.raises(StudyError, match=f"choose another folder with {option}$"):
            write_report("demo", tmp_path, out=tmp_path / folder if option == "--out" else None)


def test_summary_agrees_with_the_tables(report):
    summary = json.loads((report / "summary.json").read_text())
    trials = pd.read_csv(report / "trials.csv")
    epochs = pd.read_csv(report / "epochs.csv")
    complete = trials[trials["state"] == "COMPLETE"]
    assert summary["trials"] == {**dict.fromkeys(summary["trials"], 0), **trials["state"].value_counts()}
    assert summary["best"]["val_accuracy_best"] == complete["val_accuracy_best"].max()
    assert summary["best"]["dimensions"].keys() == set(summary["study"]["dimensions"])
    assert sum(row["n"] for row in summary["by_depth"]) == len(complete)
    for row in summary["by_depth"]:
        of_depth = complete[complete["depth"] == row["depth"]]
        assert row["gap_last"]["value"] == pytest.approx(of_depth["gap_last"].mean())
        assert row["best"]["value"] == pytest.approx(of_depth["val_accuracy_best"].max())
    difference = (complete["val_accuracy_best"] - complete["val_accuracy_last"]).mean()
    assert summary["statistics"]["best_versus_last"]["difference"]["value"] == pytest.approx(difference)
    assert set(epochs["trial"]) <= set(trials["number"])


def test_every_estimate_has_n_and_interval(report):
    estimates = []

    def walk(value):
        if isinstance(value, dict):
            estimates.extend([value] if "value" in value else [])
            for entry in value.values():
                walk(entry)
        elif isinstance(value, list):
            for entry in value:
                walk(entry)

    walk(json.loads((report / "summary.json").read_text()))
    assert len(estimates) > 20
    assert all({"low", "high", "n"} <= set(estimate) for estimate in estimates)


def test_csv_has_empty_cells_and_integers(report):
    with (report / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    waiting = next(row for row in rows if row["state"] == "WAITING")
    assert (waiting["best_step"], waiting["gap_last"]) == ("", "")
    assert all(row["best_step"].isdigit() for row in rows if row["state"] == "COMPLETE")


def test_new_report_replaces_the_old_one(make_study, tmp_path):
    make_study(tmp_path, "again", [TrialState.COMPLETE] * 2)
    first = write_report("again", tmp_path)
    first.write_text("old")
    assert write_report("again", tmp_path) == first
    assert first.read_text().startswith("<!doctype html>")


def test_report_from_a_storage_is_written_under_results(make_study, tmp_path):
    make_study(tmp_path, "../up/and away", [TrialState.COMPLETE], folder="kept")
    url = f"sqlite:///{tmp_path / 'kept' / 'study.db'}"
    page = write_report("../up/and away", tmp_path / "results", url)
    assert page.is_relative_to(tmp_path / "results")
    assert ".." not in page.relative_to(tmp_path).parts


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_error_for_a_folder_that_cannot_be_written(make_study, tmp_path):
    make_study(tmp_path, "locked", [TrialState.COMPLETE])
    (tmp_path / "locked" / "report").mkdir(mode=0o500)
    with pytest.raises(StudyError, match="cannot write"):
        write_report("locked", tmp_path)


def test_error_for_a_file_at_the_path_of_the_folder(make_study, tmp_path):
    make_study(tmp_path, "blocked", [TrialState.COMPLETE])
    (tmp_path / "blocked" / "report").write_text("")
    with pytest.raises(StudyError, match="cannot write"):
        write_report("blocked", tmp_path)


def test_command_prints_the_path_of_the_page(make_study, tmp_path):
    make_study(tmp_path, "cli", [TrialState.COMPLETE])
    result = CliRunner().invoke(command, ["cli", "--results", str(tmp_path)], catch_exceptions=False)
    assert result.output.strip() == str(tmp_path / "cli" / "report" / "index.html")


def test_plain_converts_to_json_types():
    value = {"a": Estimate(0.5, None, float("nan"), 3), "b": Withheld("too few"), "c": (1, pd.NA)}
    assert plain(value) == {
        "a": {"value": 0.5, "low": None, "high": None, "n": 3, "sd": None},
        "b": {"withheld": "too few"},
        "c": [1, None],
    }


def test_writing_a_report_does_not_change_the_study(make_study, tmp_path):
    make_study(tmp_path, "same", [TrialState.COMPLETE] * 2)
    before = read_study("same", tmp_path)
    write_report("same", tmp_path)
    pd.testing.assert_frame_equal(read_study("same", tmp_path).trials, before.trials)
