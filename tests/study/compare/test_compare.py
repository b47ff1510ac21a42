"""Comparison of studies, from the storage to the page."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from drft.config.trial_config import TrialConfig, with_values
from drft.errors import StudyError
from study.analysis import Curve, Withheld, summarize
from study.analysis.evidence import read_verdict
from study.cli.compare import command
from study.cli.export import command as export
from study.compare.changes import changes
from study.compare.chapters import _ends, against_text, side_by_side
from study.compare.comparison import _read, compare
from study.compare.write import default_folder, write_comparison
from study.report.write import write_report
from study.results.study_results import read_study

COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED
OTHER_DATA = {"name": "idrid", "fingerprint": "ee" * 32, "rendered": False, "counts_train": [1], "counts_test": [1],
              "notes": [], "grades": ["no DR"], "n": 466}  # fmt: skip


@pytest.fixture(scope="module")
def results(make_study, add_finalists, tmp_path_factory):
    """Without a verdict: ``one`` and ``two`` on the same data, ``three`` on other data, with no completed trial.

    With a verdict: ``deep`` and ``shallow`` on the same images, ``fewer`` on half of them, ``elsewhere`` on other data.
    """
    folder = tmp_path_factory.mktemp("results")
    make_study(folder, "one", [COMPLETE] * 6 + [PRUNED])
    base = with_values(TrialConfig(), {"backbone.name": "resnet10t", "batch_size": 8})
    make_study(folder, "two", [COMPLETE] * 4, base_config=base.model_dump_json(), sampler="random")
    make_study(folder, "three", [PRUNED] * 2, cohort=json.dumps(OTHER_DATA))
    for name, chance in (("one", 0.6), ("two", 0.75)):
        add_predictions(read_study(name, folder), chance)
    images = [f"train/{number}" for number in range(100)]
    for name, accuracies, ids, others in (
        ("deep", (0.3, 0.5, 0.8), images, {}),
        ("shallow", (0.6, 0.6, 0.6), images, {}),
        ("fewer", (0.6, 0.6, 0.6), images[:50], {}),
        ("elsewhere", (0.6, 0.6, 0.6), images, {"cohort": json.dumps(OTHER_DATA)}),
    ):
        make_study(folder, name, [COMPLETE] * 6 + [PRUNED], goal="depth", **others)
        add_finalists(folder, name, accuracies, ids=ids, seed=len(name), **others)
    return folder


def add_predictions(study, chance):
    """Store predictions of all trials: each image is right with this chance after every epoch."""
    rng = np.random.default_rng(0)
    ids = np.array([f"train/{number}" for number in range(83)])
    for row in study.complete.to_dict("records"):
        epochs = int(row["last_step"])
        right = rng.random((epochs, 83)) < chance
        probabilities = np.stack([right, ~right], axis=2).astype(np.float16)
        file = study.predictions_file(int(row["number"]))
        file.parent.mkdir(parents=True)
        np.savez(file, validation_ids=ids, validation_grades=np.zeros(83, int), validation_probabilities=probabilities)


def against(results, *names):
    (difference,) = compare(names, results).against
    return difference


def test_verdicts_on_the_same_images_are_compared_image_by_image(results):
    difference = against(results, "deep", "shallow")
    assert difference.unpaired is None
    deep, shallow = (read_verdict(read_study(name, results)) for name in ("deep", "shallow"))
    assert deep.recommended_depth == 2
    assert difference.difference.value == pytest.approx(deep.accuracy.value - shallow.accuracy.value, abs=0.03)
    assert difference.difference.n == 100
    assert difference.difference.low > 0
    # Both studies find the same images easy, so independent intervals would be wider.
    width = difference.difference.high - difference.difference.low
    assert width < 0.9 * np.hypot(*(v.accuracy.high - v.accuracy.low for v in (deep, shallow)))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("deep", "elsewhere"), "their data are not the same"),
        (("deep", "fewer"), "they were scored on different images, 100 and 50 (50 in common)"),
        (("deep", "one"), "they were scored on different images, 100 and 83 (83 in common)"),
    ],
)
def test_other_studies_are_compared_without_pairing_and_the_reason_is_given(results, names, reason):
    difference = against(results, *names)
    assert difference.unpaired == reason
    one, other = compare(names, results).sides
    assert difference.difference.value == pytest.approx(one.expected.value - other.expected.value)
    assert difference.difference.low < difference.difference.value < difference.difference.high
    assert f"not image by image), more than chance explains; {reason}." in against_text(difference) or (
        f"not image by image), within what chance explains; {reason}." in against_text(difference)
    )


def test_without_a_verdict_the_best_trials_are_corrected_for_their_selection(results):
    """Every candidate is right for 60 or 75 % of the images but for chance; the best of them scores higher."""
    one, two = compare(["one", "two"], results).sides
    assert isinstance(one.verdict, Withheld)
    assert one.expected.value == pytest.approx(0.6, abs=0.06)
    assert two.expected.value == pytest.approx(0.75, abs=0.06)
    difference = against(results, "one", "two")
    assert difference.unpaired is None
    assert difference.difference.value == pytest.approx(one.expected.value - two.expected.value)


def test_no_score_that_selected_a_trial_is_shown(results):
    out = results / "shown"
    printed = invoke(command, "one", "two", "deep", "--results", results, "--out", out).output
    summary = json.loads((out / "summary.json").read_text())
    for side in summary["studies"]:
        assert not any("best" in key for row in side["depths"] for key in row if key != "gap_best")
        del side["depths"], side["curve"]  # means and medians over trials, of few of them at times
    texts = [printed, (out / "compare.md").read_text(), json.dumps(summary)]
    best = [read_study(name, results).complete["val_accuracy_best"][0] for name in ("one", "two", "deep")]
    found = [(score, text) for text in texts for score in best if f"{100 * score:.1f}%" in text or str(score) in text]
    assert not found


def test_a_verdict_is_shown_with_its_promise_gap_and_trainings(results):
    heading, rows = side_by_side(compare(["deep", "one"], results))
    assert heading == ("study", "deep", "one")
    shown = {what: said for what, *said in rows}
    verdict = read_verdict(read_study("deep", results))
    promise = f"{verdict.promise.value:.1%} ({100 * verdict.promise.low:.1f} to {100 * verdict.promise.high:.1f}) of 10"
    assert shown["answer"] == [
        "verdict",
        f"no verdict: trial {read_study('one', results).complete['number'][0]}, the best of 6",
    ]
    assert shown["depth"][0] == "2 of 5 blocks"
    assert shown["promise for the ensemble"] == [promise, ""]
    assert shown["gap at the last epoch"][0].startswith(f"{100 * verdict.gap_last.value:.1f} (")
    assert shown["trainings"] == [str(7 + 4 * 2 * 5), "7"]
    assert shown["certain"][0].startswith("yes (within 2 points of the best depth: ")


def test_a_study_without_an_expected_accuracy_says_why(results, make_study, tmp_path):
    assert (
        "three has no expected accuracy: no trial has completed" in against(results, "one", "three").difference.reason
    )
    make_study(tmp_path, "a", [COMPLETE])
    make_study(tmp_path, "b", [PRUNED])
    difference = against(tmp_path, "a", "b")
    assert "a has no expected accuracy: the study's folder holds the predictions of 0 of 1" in against_text(difference)


def test_exactly_the_differing_settings_are_listed(results):
    differing = {change.what: change.said for change in compare(["one", "two", "three"], results).changes}
    assert differing["backbone.name"] == ("mobilenetv3_small_050", "resnet10t", "mobilenetv3_small_050")
    assert differing["batch_size"] == ("32", "8", "32")
    assert differing["sampler"] == ("tpe", "random", "tpe")
    assert differing["data fingerprint"] == ("ab" * 8, "ab" * 8, "ee" * 8)
    assert not differing.keys() & {"depth", "depth_phase.lr", "image_size", "pruner", "seed", "version of torch"}


def test_goal_limit_and_trials_are_settings_that_may_differ(results, make_study, tmp_path):
    make_study(tmp_path, "all", [COMPLETE] * 4)
    make_study(tmp_path, "limited", [COMPLETE] * 4, max_gap=0.1, trials_wanted=7)
    make_study(tmp_path, "deep", [COMPLETE] * 4, goal="depth")
    differing = {change.what: change.said for change in compare(["all", "limited", "deep"], tmp_path).changes}
    assert differing["goal"] == ("best", "best", "depth")
    assert differing["trials"] == ("60", "7", "60")
    assert differing["largest gap of the best trial"] == ("no limit", "0.1", "no limit")


def test_a_searched_depth_fraction_is_no_fixed_depth(results):
    study = read_study("one", results).info
    searched = {name: domain for name, domain in study.dimensions.items() if name != "depth"}
    other = replace(study, dimensions={**searched, "depth_fraction": FloatDistribution(0, 1, step=0.5)})
    differing = {change.what: change.said for change in changes([study, other])}
    assert differing == {"depth": ("0 to 5", "none"), "depth_fraction": ("none", "0 to 1")}


def test_compared_studies_agree_with_their_results(results):
    one, _, three = compare(["one", "two", "three"], results).sides
    complete = read_study("one", results).complete
    assert (one.completed, one.finished, one.best.trial) == (6, 7, complete["number"][0])
    assert one.best.depth == complete["depth"][0]
    assert one.trainings == 7
    assert one.curve.n == 6
    assert sum(row.n for row in one.depths) == 6
    assert isinstance(three.best, Withheld)
    assert isinstance(three.curve, Withheld)


def test_depths_of_several_backbones_are_those_of_the_best_trial_as_in_the_report(results):
    study = read_study("one", results)
    names = np.where(study.trials["number"] % 2 == 0, "a", "b")
    study = replace(
        study,
        trials=study.trials.assign(**{"backbone.name": names}),
        info=replace(study.info, backbones={"a": 5, "b": 3}),
    )
    side = _read(study).side
    assert side.depths == summarize(study).depths
    assert sum(row.n for row in side.depths) < side.completed


@pytest.mark.parametrize(
    ("studies", "message"),
    [
        (["one"], "name 2 to 8 studies to compare, not 1"),
        (["one", "one"], "named twice"),
        (["one", "twoo"], "did you mean 'two'"),
    ],
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
    assert "one against two: " in result.output
    assert "accuracy of one training" in result.output
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
    assert summary["schema"] == 2
    assert summary["against"][0]["unpaired"] is None
    assert summary["against"][1]["difference"] == {"withheld": "three has no expected accuracy: no trial has completed"}


def test_a_comparison_stays_in_the_folder_of_the_results_whatever_the_names(make_study, tmp_path):
    for name in ("a/../../../b", "c"):
        make_study(tmp_path / "kept", name, [COMPLETE], folder="both")
    url, results = f"sqlite:///{tmp_path / 'kept' / 'both' / 'study.db'}", tmp_path / "results"
    page = invoke(command, "a/../../../b", "c", "--storage", url, "--results", results).output.splitlines()[-1]
    assert Path(page).parents[1] == results


def test_comparisons_of_long_names_have_folders_of_their_own(make_study, tmp_path):
    names = [f"{'long' * 20}{letter}" for letter in "abc"]
    for name in names:
        make_study(tmp_path, name, [COMPLETE])
    folders = {default_folder(compare([names[0], other], tmp_path), tmp_path).name for other in names[1:]}
    assert len(folders) == 2
    assert max(map(len, folders)) < 170


def test_studies_without_a_completed_trial_can_be_compared(make_study, tmp_path):
    for name in "ab":
        make_study(tmp_path, name, [PRUNED])
    invoke(command, "a", "b", "--results", tmp_path, "--out", tmp_path / "here")
    assert "no trial has completed" in (tmp_path / "here" / "compare.md").read_text()


def test_a_folder_that_cannot_be_written_is_named_with_its_option(make_study, tmp_path):
    for name in "ab":
        make_study(tmp_path, name, [PRUNED])
    (tmp_path / "taken").write_text("")
    refused = CliRunner().invoke(command, ["a", "b", "--results", str(tmp_path), "--out", str(tmp_path / "taken")])
    assert str(refused.exception).endswith("choose another folder with --out")
    (tmp_path / "compare-a-b").write_text("")
    refused = CliRunner().invoke(command, ["a", "b", "--results", str(tmp_path)])
    assert str(refused.exception).endswith("choose another folder with --results")


def test_the_banner_names_the_studies_of_rendered_images_if_there_are_others(results, tmp_path):
    for studies, banner in (
        (("one", "two"), "Rendered images, not patients: a program drew this data set."),
        (("one", "three"), "Rendered images, not patients: a program drew those of one."),
    ):
        write_comparison(compare(studies, results), tmp_path / studies[1])
        for name in ("index.html", "compare.md"):
            assert banner in (tmp_path / studies[1] / name).read_text()


@pytest.mark.parametrize(
    ("medians", "end"), [((0.4, 0.6), "60.0%, its peak"), ((0.7, 0.6), "60.0% after its peak at epoch 1 of 2")]
)
def test_a_curve_that_ends_at_its_peak_is_not_after_it(medians, end):
    quartiles = tuple((median, median, median) for median in medians)
    assert _ends(Curve(0, 3, 1, (1, 2), quartiles, quartiles)).endswith(f"validation at {end}")


def test_a_named_folder_may_hold_a_former_comparison_but_no_other_page(make_study, tmp_path):
    for name in "ab":
        make_study(tmp_path, name, [PRUNED])
    arguments = ["a", "b", "--results", str(tmp_path), "--out", str(tmp_path / "here")]
    for _ in range(2):
        assert CliRunner().invoke(command, arguments).exit_code == 0
    (tmp_path / "here" / "index.html").write_text("<title>My page</title>")
    refused = CliRunner().invoke(command, arguments)
    assert "holds index.html, compare.md, summary.json and no comparison of drft-study" in str(refused.exception)
    assert (tmp_path / "here" / "index.html").read_text() == "<title>My page</title>"


def test_a_comparison_replaces_no_report_and_is_written_into_no_study(make_study, tmp_path):
    for name in "ab":
        make_study(tmp_path, name, [PRUNED])
    page = write_report("a", tmp_path)
    before = page.read_bytes()
    for folder, reason in ((page.parent, "and no comparison of drft-study"), (tmp_path / "b", "the folder of a study")):
        refused = CliRunner().invoke(command, ["a", "b", "--results", str(tmp_path), "--out", str(folder)])
        assert reason in str(refused.exception)
    assert page.read_bytes() == before
    assert not (tmp_path / "b" / "index.html").exists()


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
    invoke(export, "one", "--results", results, "--table", table, "--out", tmp_path / "named.parquet")
    assert (tmp_path / "named.parquet").read_bytes() == (tmp_path / "t.parquet").read_bytes()


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
    CliRunner().invoke(command, ["deep", "one", "--results", str(results), "--out", str(out)], catch_exceptions=False)
    browser.open((out / "index.html").as_uri(), width=width)
    browser.wait(lambda driver: driver.find_elements("css selector", ".js-plotly-plot .main-svg"), "figures")
    assert browser.driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert browser.overflow <= 0
    assert browser.errors() == []
