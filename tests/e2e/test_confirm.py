"""The command ``drft-study confirm`` on tiny images: killed and resumed, finished once, and wrong uses."""

import json
import os
import re
import shutil
import subprocess
import sys

import jsonschema
import pandas as pd
import pytest
from PIL import Image

from drft.data import GRADES
from study.cli import main
from study.report.schema import summary_schema
from tests.helpers import ROOT
from tests.helpers.small_images import draw_noise, write_table

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SPACE = """
name: tiny
question: Does the program work?
fixed: {image_size: 32, batch_size: 16, head_phase.epochs: 1, depth_phase.epochs: 2}
search:
  depth: {type: int, low: 0, high: all}
  depth_phase.lr: {type: float, low: 1e-4, high: 1e-2, log: true}
"""
CONFIRM = ("confirm", "tiny", "--top", "2", "--seeds", "2", "--jobs", "1")


def lay_out(folder):
    """Write 50 small images, brighter with the grade, the last of them test images, and a search space."""
    for index in range(50):
        draw_noise(folder / f"photo{index}.png", index, 40 * (index % 5))
    rows = [(f"photo{index}", index % 5, "test" if index >= 40 else "train") for index in range(50)]
    write_table(folder / "labels.csv", ("image", "level", "split"), *rows)
    (folder / "tiny.yaml").write_text(SPACE)


def start(folder, *args):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "study", *args], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def run(folder, *args):
    process = start(folder, *args)
    output, _ = process.communicate()
    return process.returncode, output


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A folder with a study of three trials; copy it, do not change it."""
    folder = tmp_path_factory.mktemp("studied")
    lay_out(folder)
    inputs = ("--space", "tiny.yaml", "--data", "labels.csv", "--backbone", "test_resnet", "--weights", "none")
    search = ("--study", "tiny", "--goal", "best", "--trials", "3", "--pruner", "none", "--jobs", "1", "--no-report")
    code, output = run(folder, "run", *inputs, *search, "--origin-column", "split")
    assert code == 0, output
    return folder


@pytest.fixture
def folder(studied, tmp_path):
    shutil.copytree(studied, tmp_path / "folder")
    return tmp_path / "folder"


def listing(folder):
    """Return the modification time of each file, without the files that SQLite creates for readers."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("study.db-"))
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_killed_confirmation_is_resumed_and_a_finished_one_is_not_repeated(folder):
    process = start(folder, *CONFIRM)
    output = ""
    while output.count(": best accuracy") < 2:
        line = process.stdout.readline()
        assert line, output
        output += line
    process.kill()
    process.communicate()
    assert "test images, held out until the end" in output

    code, output = run(folder, *CONFIRM)
    assert code == 0, output
    assert "6 of 6 retrainings finished" in output
    assert "Held-out test set: 10 images, 2 new seeds and splits." in output
    study = folder / "results" / "tiny"
    trials = {path.name for path in (study / "confirm" / "trials").iterdir()}
    assert len(trials) == 6
    summary = json.loads((study / "confirm" / "summary.json").read_text())
    assert summary["test"]["scores"][0]["name"] == "baseline"
    assert len(summary["test"]["differences"]) == 3
    report = json.loads((study / "report" / "summary.json").read_text())
    assert report["statistics"]["test"] == summary["test"]
    assert "trained again on 2 new seeds" in (study / "report" / "report.md").read_text()

    before = listing(folder)
    code, output = run(folder, *CONFIRM)
    assert (code, "already confirmed; no training is repeated" in output) == (0, True), output
    assert "Held-out test set: 10 images" in output
    assert listing(folder) == before


@pytest.fixture(scope="module")
def depths(tmp_path_factory):
    """Two folders with a study of the goal depth: killed among its finalists, and finished; copy them."""
    finished = tmp_path_factory.mktemp("depths") / "finished"
    finished.mkdir()
    lay_out(finished)
    shallow = SPACE.replace("high: all", "high: 1").replace("depth_phase.epochs: 2", "depth_phase.epochs: 1")
    (finished / "tiny.yaml").write_text(shallow)
    inputs = ("--space", "tiny.yaml", "--data", "labels.csv", "--backbone", "test_resnet", "--weights", "none")
    search = ("--study", "tiny", "--trials", "4", "--goal", "depth", "--jobs", "1", "--no-report")
    whole = ("run", *inputs, *search, "--origin-column", "split", "--images", str(finished))
    process = start(finished, *whole)
    output = ""
    while output.partition("Round 1 of cross-validation")[2].count(": best accuracy") < 12:
        line = process.stdout.readline()
        assert line, output
        output += line
    process.kill()
    process.communicate()
    unfinished = shutil.copytree(finished, finished.parent / "unfinished")
    code, output = run(finished, *whole)
    assert code == 0, output
    return {"finished": finished, "unfinished": unfinished}


@pytest.mark.timeout(600)  # it waits for the studies, too
def test_the_promise_is_checked_once_and_the_same_is_printed_again(depths, tmp_path):
    folder = shutil.copytree(depths["finished"], tmp_path / "folder")
    study = folder / "results" / "tiny"
    assert run(folder, "export", "tiny", "--out", "model")[0] == 0
    trained = listing(study / "finalists")
    code, output = run(folder, "confirm", "tiny", "--jobs", "1")
    assert code == 0, output
    lines = output.splitlines()
    outcome = "was kept|was not kept|cannot be checked"
    assert re.match(rf"The promise ({outcome}): promised .*, measured .* on 10 test images \(95% interval .*", lines[0])
    names = [line.split()[0] for line in lines if "QWK" in line]
    assert names == ["recommended", "untuned", "linear"]
    assert "recommended minus untuned" in output
    assert "recommended minus linear model" in output
    assert listing(study / "finalists") == trained  # nothing is trained

    summary = json.loads((study / "confirm" / "summary.json").read_text())
    scores = summary["promise"]["models"]
    assert [score["name"] for score in scores] == ["recommended", "untuned", "linear model"]
    assert summary["promise"]["check"]["measured"] == scores[0]["accuracy"]
    assert summary["promise"]["missing"] == {}
    report = json.loads((study / "report" / "summary.json").read_text())
    jsonschema.validate(report, summary_schema())
    assert report["statistics"]["promise_on_test"] == summary["promise"]
    assert [report["promise"][end] for end in ("value", "low", "high")] == [
        summary["promise"]["check"]["promised"][end] for end in ("value", "low", "high")
    ]
    assert lines[0] in (study / "report" / "report.md").read_text().replace("\\", "")

    before = listing(folder)
    code, again = run(folder, "confirm", "tiny", "--jobs", "1")
    assert (code, again.splitlines()) == (0, [line for line in lines if not line.startswith("Report: ")])
    assert listing(folder) == before

    # The model that was scored is the model that is exported.
    opened = json.loads((study / "confirm" / "opened.json").read_text())
    images = [f"photo{index}.png" for index in range(40, 50)]
    assert run(folder, "predict", "model", *images, "--csv", "grades.csv")[0] == 0
    predicted = dict(pd.read_csv(folder / "grades.csv")[["id", "class"]].to_numpy())
    scored = [GRADES[number] for number in opened["models"][0]["predicted"]]
    assert [predicted[name.split("/")[-1]] for name in opened["ids"]] == scored
    assert run(folder, "export", "tiny", "--out", "again")[0] == 0
    card = (folder / "again" / "README.md").read_text()
    assert f"was {summary['promise']['check']['outcome']}" in card

    # From now on, every study of these images says that they were opened.
    seen = r"opened on \d{4}-\d\d-\d\d by study tiny"
    assert re.search(f"The test images were {seen}", card)
    assert re.search(f"10 test \\({seen}", (study / "report" / "report.md").read_text().replace("\\", ""))
    other = ("run", "--space", "tiny.yaml", "--data", "labels.csv", "--backbone", "test_resnet", "--weights", "none")
    other = (*other, "--study", "other", "--trials", "1", "--goal", "best", "--jobs", "1", "--no-report")
    code, output = run(folder, *other, "--origin-column", "split", "--images", str(folder))
    assert code == 0, output
    assert re.search(f"10 for the test, {seen}", output)
    assert "later choices are not tested on unseen images" in output


def test_with_top_and_seeds_the_trials_of_the_goal_depth_are_retrained(depths, tmp_path):
    folder = shutil.copytree(depths["finished"], tmp_path / "folder")
    code, output = run(folder, "confirm", "tiny", "--top", "1", "--seeds", "2", "--jobs", "1", "--no-report")
    assert code == 0, output
    assert "4 of 4 retrainings finished" in output
    code, output = run(folder, "confirm", "tiny", "--jobs", "1")  # and the promise can still be checked
    assert code == 0, output
    summary = json.loads((folder / "results" / "tiny" / "confirm" / "summary.json").read_text())
    assert summary["promise"]["n_images"] == summary["test"]["n_images"] == 10
    report = (folder / "results" / "tiny" / "report" / "report.md").read_text()
    assert "The promise " in report
    assert "trained again on 2 new seeds" in report


def test_an_unfinished_study_makes_no_promise(depths, tmp_path, capsys, monkeypatch):
    folder = shutil.copytree(depths["unfinished"], tmp_path / "folder")
    before = listing(folder)
    code, output = fail(capsys, monkeypatch, folder, "confirm", "tiny")
    assert (code, output.count("\n")) == (2, 1), output
    assert "makes no promise yet" in output
    assert "resume the run with `drft-study run" in output
    assert listing(folder) == before


def fail(capsys, monkeypatch, folder, *args):
    """Run a command in this process; return its exit code and its errors."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["drft-study", *args])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code, capsys.readouterr().err


WRONG = {
    "no such study": (("confirm", "tinny"), "no study 'tinny'"),
    "more trials than there are": (("confirm", "tiny", "--top", "9"), "--top is 9"),
    "data that are gone": ((*CONFIRM, "--data", "nowhere"), "name their new location with --data"),
    "an option of another executor": ((*CONFIRM, "--ray-address", "auto"), "--executor ray"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_use_is_one_line_and_nothing_is_written(fault, folder, capsys, monkeypatch):
    args, word = WRONG[fault]
    before = listing(folder)
    code, output = fail(capsys, monkeypatch, folder, *args)
    assert (code, output.count("\n"), word in output) == (2, 1, True), output
    assert listing(folder) == before


def test_other_images_than_those_of_the_study_are_refused(folder, capsys, monkeypatch):
    Image.new("RGB", (48, 48), (9, 9, 9)).save(folder / "photo3.png")
    code, output = fail(capsys, monkeypatch, folder, *CONFIRM)
    assert (code, output.count("\n")) == (2, 1), output
    assert "are not those that study 'tiny' was run on" in output
    assert not (folder / "results" / "tiny" / "confirm").exists()
