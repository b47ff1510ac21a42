"""The command ``drft-study confirm`` on tiny images: killed and resumed, finished once, and wrong uses."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from study.cli import main
from tests.helpers import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SPACE = """
name: tiny
question: Does the program work?
fixed: {image_size: 32, batch_size: 16, head_phase.epochs: 1, depth_phase.epochs: 2}
search:
  depth: {type: int, low: 0, high: all}
  depth_phase.lr: {type: float, low: 1e-4, high: 1e-2, log: true}
"""
CONFIRM = ("confirm", "tiny", "--top", "2", "--seeds", "2", "--jobs", "1")


def lay_out(folder, test=10):
    """Write 50 small images, brighter with the grade, the last of them test images, and a search space."""
    rows = [("image", "grade", "split")]
    for index in range(50):
        grade = index % 5
        noise = np.random.default_rng(index).integers(0, 60, (48, 48, 3))
        Image.fromarray((noise + 40 * grade).astype(np.uint8)).save(folder / f"photo{index}.png")
        rows.append((f"photo{index}", str(grade), "test" if index >= 50 - test else "train"))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
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
    while "2/6 finished" not in output:
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
