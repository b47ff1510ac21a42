"""Comparison of studies, from the storage to the page."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from optuna.trial import TrialState

from drft.config.trial_config import TrialConfig, with_values
from drft.errors import StudyError
from study.analysis import Withheld
from study.analysis.estimators.paired import PairedDifference
from study.cli.compare import command
from study.cli.export import command as export
from study.compare.comparison import compare
from study.results.study_results import read_study

COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED
OTHER_DATA = {"name": "idrid", "fingerprint": "ee" * 32, "rendered": False, "counts_train": [1], "counts_test": [1],
              "notes": [], "grades": ["no DR"], "n": 466}  # fmt: skip


@pytest.fixture(scope="module")
def results(make_study, tmp_path_factory):
    """Three studies: ``one`` and ``two`` on the same data, ``three`` on other data and without a completed trial."""
    folder = tmp_path_factory.mktemp("results")
    make_study(folder, "one", [COMPLETE] * 6 + [PRUNED])
    base = with_values(TrialConfig(), {"backbone.name": "resnet10t", "batch_size": 8})
    make_study(folder, "two", [COMPLETE] * 4, base_config=base.model_dump_json(), sampler="random")
    make_study(folder, "three", [PRUNED] * 2, cohort=json.dumps(OTHER_DATA))
    for name, shift in (("one", 0), ("two", 20)):
        add_predictions(read_study(name, folder), shift)
    return folder


def add_predictions(study, shift):
    """Store predictions of the best trial: images with a number below 50 + ``shift`` are right, in a random order."""
    best = study.complete.iloc[0]
    order = np.random.default_rng(shift).permutation(83)
    right = order < 50 + shift
    probabilities = np.zeros((int(best["last_step"]), 83, 2), np.float16)
    probabilities[int(best["best_step"]) - 1, np.arange(83), np.where(right, 0, 1)] = 1
    file = study.predictions_file(int(best["number"]))
    file.parent.mkdir(parents=True)
    ids = np.array([f"train/{number}" for number in order])
    np.savez(file, validation_ids=ids, validation_grades=np.zeros(83, int), validation_probabilities=probabilities)


def test_best_trials_are_paired_by_image(results):
    (against,) = compare(["two", "one"], results).against
    assert isinstance(against.paired, PairedDifference)
    assert (against.paired.only_one, against.paired.only_other, against.paired.n_images) == (20, 0, 83)
    assert against.paired.difference.value == pytest.approx(20 / 83)


def test_best_trials_on_other_data_or_without_predictions_are_not_paired(results, make_study, tmp_path):
    assert isinstance(compare(["one", "three"], results).against[0].paired, Withheld)
    make_study(tmp_path, "a", [COMPLETE])
    make_study(tmp_path, "b", [PRUNED])
    (against,) = compare(["a", "b"], tmp_path).against
    assert "predictions of trial 0 of a are not in its folder" in against.paired.reason


def test_exactly_the_differing_settings_are_listed(results):
    differing = {change.what: change.said for change in compare(["one", "two", "three"], results).changes}
    assert differing["backbone.name"] == ("mobilenetv3_small_050", "resnet10t", "mobilenetv3_small_050")
    assert differing["batch_size"] == ("32", "8", "32")
    assert differing["sampler"] == ("tpe", "random", "tpe")
    assert differing["data fingerprint"] == ("ab" * 8, "ab" * 8, "ee" * 8)
    assert not differing.keys() & {"depth", "depth_phase.lr", "image_size", "pruner", "seed", "version of torch"}


def test_compared_studies_agree_with_their_results(results):
    one, _, three = compare(["one", "two", "three"], results).sides
    complete = read_study("one", results).complete
    assert (one.completed, one.finished, one.best.trial) == (6, 7, complete["number"][0])
    assert one.best.accuracy.value == pytest.approx(complete["val_accuracy_best"][0])
    assert one.curve.n == 6
    assert sum(row.n for row in one.depths) == 6
    assert isinstance(three.best, Withheld)
    assert isinstance(three.curve, Withheld)


@pytest.mark.parametrize(
    ("studies", "message"),
    [(["one"], "cannot be compared"), (["one", "one"], "named twice"), (["one", "twoo"], "did you mean 'two'")],
)
def test_studies_that_cannot_be_compared_are_refused(studies, message, results):
    with pytest.raises(StudyError, match=message):
        compare(studies, results)


def invoke(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def test_the_command_writes_page_markdown_figures_and_summary(results):
    result = invoke(command, "one", "two", "three", "--results", results)
    folder = results / "compare-one-two-three"
    assert result.output.splitlines()[-1] == str(folder / "index.html")
    assert "24.1 points (95% interval" in result.output
    page = (folder / "index.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "src=" not in page.replace("plotly", "").split("<script>")[0]
    assert "Rendered images, not patients" in page
    markdown = (folder / "compare.md").read_text()
    assert "| backbone.name |" in markdown.replace("\\", "")
    images = {path.name for path in (folder / "figures").iterdir()}
    assert images == {"curves.png", "accuracy-of-studies.png", "gap-of-studies.png"}
    summary = json.loads((folder / "summary.json").read_text())
    assert [study["name"] for study in summary["studies"]] == ["one", "two", "three"]
    assert summary["against"][1]["paired"] == {"withheld": "their data are not the same"}


def test_studies_without_a_completed_trial_can_be_compared(make_study, tmp_path):
    for name in "ab":
        make_study(tmp_path, name, [PRUNED])
    invoke(command, "a", "b", "--results", tmp_path, "--out", tmp_path / "here")
    assert "no trial has completed" in (tmp_path / "here" / "compare.md").read_text()


@pytest.mark.parametrize("table", ["trials", "epochs"])
def test_tables_are_exported_as_csv_and_parquet(table, results, tmp_path):
    expected = getattr(read_study("one", results), table)
    invoke(export, "one", "--results", results, "--table", table, "--out", tmp_path / "t.csv")
    printed = invoke(export, "one", "--results", results, "--table", table)
    assert printed.output == (tmp_path / "t.csv").read_text()
    assert list(pd.read_csv(tmp_path / "t.csv").columns) == list(expected.columns)
    pytest.importorskip("pyarrow")
    invoke(
        export, "one", "--results", results, "--table", table, "--format", "parquet", "--out", tmp_path / "t.parquet"
    )
    parquet = pd.read_parquet(tmp_path / "t.parquet")
    assert parquet.shape == expected.shape
    assert list(parquet.iloc[:, 0]) == list(expected.iloc[:, 0])


def test_parquet_needs_a_file_and_pyarrow(results, tmp_path, monkeypatch):
    arguments = ["one", "--results", str(results), "--table", "trials", "--format", "parquet"]
    with pytest.raises(StudyError, match="name a file with --out"):
        invoke(export, *arguments)
    missing = ImportError("no engine")
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lambda *_, **__: (_ for _ in ()).throw(missing))
    with pytest.raises(StudyError, match="needs pyarrow"):
        invoke(export, *arguments, "--out", tmp_path / "t.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_opens_offline_on_wide_and_narrow_screens(browser, results, tmp_path, width):
    out = tmp_path / "side"
    CliRunner().invoke(command, ["one", "two", "--results", str(results), "--out", str(out)], catch_exceptions=False)
    browser.open((out / "index.html").as_uri(), width=width)
    browser.wait(lambda driver: driver.find_elements("css selector", ".js-plotly-plot .main-svg"), "figures")
    assert browser.driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert browser.overflow <= 0
    assert browser.errors() == []
