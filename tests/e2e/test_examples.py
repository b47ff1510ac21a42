"""The scripts in ``examples/`` run as their first lines say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.helpers.small_images import draw_noise, write_table

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 60 small images of two classes, and their table."""
    folder = tmp_path_factory.mktemp("examples")
    rows = [(f"{index}.png", ("nevus", "melanoma")[index % 2]) for index in range(60)]
    write_table(folder / "labels.csv", ("image", "label"), *rows)
    for index in range(60):
        draw_noise(folder / f"{index}.png", index, 40 * (index % 2))
    return folder


def run(folder: Path, script: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{EXAMPLES}", "RAY_ADDRESS": "local"}
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        cwd=folder, env=environment, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_there_are_at_most_five_of_at_most_40_lines():
    lengths = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert len(lengths) == 5
    assert max(lengths.values()) <= 40, lengths


def test_studies_are_run_read_and_compared(folder):
    own_images = run(folder, "own_images.py", "labels.csv", "4")
    assert "Settings to copy: {'depth':" in own_images
    assert own_images.splitlines()[-1].startswith("2.png {'melanoma':")
    assert "of 3 blocks" in run(folder, "own_network.py", "labels.csv", "4")
    one, other = sorted(path.name for path in (folder / "results").iterdir() if path.name.startswith("quick-"))
    read = run(folder, "read_study.py", one)
    assert "Recommended depth:" in read
    assert "val_accuracy" in read
    compared = run(folder, "compare_studies.py", one, other)
    assert f"{one} minus {other}, image by image:" in compared


def test_a_tuner_of_ones_own_runs_trials(folder):
    output = run(folder, "own_tuner.py", "labels.csv", "2")
    assert output.splitlines()[-1] == "Report: results/own-tuner/report/index.html"
    assert all(f"depth {depth}, epoch 1: " in output for depth in (8, 7))
