"""The real command, tiny: confirm a study, be killed, go on, open the test set once, and be told wrong things."""

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
    """Write 50 small images, brighter with the grade, the last ones for the test, and a space."""
    rows = [("image", "grade", "split")]
    for index in range(50):
        grade = index % 5
        noise = np.random.default_rng(index).integers(0, 60, (48, 48, 3))
        Image.fromarray((noise + 40 * grade).astype(np.uint8)).save(folder / f"photo{index}.png")
        rows.append((f"photo{index}", str(grade), "test" if index >= 50 - test else "train"))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "tiny.yaml").write_text(SPACE)


def start(place, *args):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "study", *args], cwd=place, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def run(place, *args):
    process = start(place, *args)
    said, _ = process.communicate()
    return process.returncode, said


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A folder with a study of three trials; copy it, do not change it."""
    place = tmp_path_factory.mktemp("studied")
    lay_out(place)
    what = ("--space", "tiny.yaml", "--data", "labels.csv", "--backbone", "test_resnet", "--weights", "none")
    how = ("--study", "tiny", "--trials", "3", "--pruner", "none", "--jobs", "1", "--no-report")
    code, said = run(place, "run", *what, *how, "--origin-column", "split")
    assert code == 0, said
    return place


@pytest.fixture
def place(studied, tmp_path):
    shutil.copytree(studied, tmp_path / "place")
    return tmp_path / "place"


def listing(place):
    """Return the files and when each was written; those that SQLite makes beside its own for readers are no news."""
    files = (path for path in place.rglob("*") if path.is_file() and not path.name.startswith("study.db-"))
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_study_is_confirmed_through_a_kill_and_only_once(place):
    process = start(place, *CONFIRM)
    said = ""
    while "2/6 finished" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    process.kill()
    process.communicate()
    assert "test images, sealed until the end" in said

    code, said = run(place, *CONFIRM)
    assert code == 0, said
    assert "6 of 6 retrainings came to their end" in said
    assert "The test set is open: 10 images, 2 fresh seeds and splits." in said
    folder = place / "results" / "tiny"
    trials = {path.name for path in (folder / "confirm" / "trials").iterdir()}
    assert len(trials) == 6
    summary = json.loads((folder / "confirm" / "summary.json").read_text())
    assert summary["test"]["scores"][0]["name"] == "baseline"
    assert len(summary["test"]["differences"]) == 3
    report = json.loads((folder / "report" / "summary.json").read_text())
    assert report["statistics"]["test"] == summary["test"]
    assert "trained again on 2 fresh seeds" in (folder / "report" / "report.md").read_text()

    before = listing(place)
    code, said = run(place, *CONFIRM)
    assert (code, "confirmed already; nothing is trained again" in said) == (0, True), said
    assert "The test set is open: 10 images" in said
    assert listing(place) == before


def say(capsys, monkeypatch, place, *args):
    """Run a command in this process; return its exit code and what it said of errors."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["drft-study", *args])
    with pytest.raises(SystemExit) as leaving:
        main()
    return leaving.value.code, capsys.readouterr().err


WRONG = {
    "no such study": (("confirm", "tinny"), "no study 'tinny'"),
    "more trials than there are": (("confirm", "tiny", "--top", "9"), "--top asks for 9"),
    "data that are gone": ((*CONFIRM, "--data", "nowhere"), "say with --data where they are now"),
    "an option of another executor": ((*CONFIRM, "--ray-address", "auto"), "--executor ray"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_use_is_one_line_and_nothing_is_written(fault, place, capsys, monkeypatch):
    args, word = WRONG[fault]
    before = listing(place)
    code, said = say(capsys, monkeypatch, place, *args)
    assert (code, said.count("\n"), word in said) == (2, 1, True), said
    assert listing(place) == before


def test_other_images_than_those_of_the_study_are_refused(place, capsys, monkeypatch):
    Image.new("RGB", (48, 48), (9, 9, 9)).save(place / "photo3.png")
    code, said = say(capsys, monkeypatch, place, *CONFIRM)
    assert (code, said.count("\n")) == (2, 1), said
    assert "are not those that study 'tiny' was run on" in said
    assert not (place / "results" / "tiny" / "confirm").exists()
