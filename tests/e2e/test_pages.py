"""The commands and the Python blocks of README and the pages run as they stand there, on small images.

A study has fewer trials here, of a small network. ``test_customize.py`` runs the page on functions of one's own, and
``test_newcomer.py`` the commands of "Getting started".
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import study
from study.run import run_study
from tests.helpers import ROOT
from tests.helpers.pages import code_blocks
from tests.helpers.small_images import draw_noise, write_table

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ELSEWHERE = {"docs/customize.md", "docs/getting-started.md"}
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")} - {ROOT / page for page in ELSEWHERE})
CLUSTERS = "docs/ray.md"
"""Its commands start and stop Ray on machines, or ask Slurm to."""

SMALL = {"image_size": 32, "batch_size": 16, "head_phase.epochs": 1, "depth_phase.epochs": 1}
TINY_TUNE = '"depth_phase.epochs": 1, "image_size": 32}, "backbone": "test_resnet", "weights": "none"'
OFFICIAL = "B. Disease Grading"


def blocks(language: str) -> list[tuple[str, str]]:
    """Return all blocks in a language with their pages."""
    return [(str(page.relative_to(ROOT)), body) for page in PAGES for body in code_blocks(page.read_text(), language)]


COMMANDS = [
    (page, lines)
    for page, body in blocks("")
    if page != CLUSTERS and (lines := [line for line in body.splitlines() if line.startswith("drft-study ")])
]
PYTHON = blocks("python")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of a user: 60 images with a table, a photo, and IDRiD in the home folder."""
    for number in range(60):
        draw_noise(tmp_path / "images" / "abcde"[number % 5] / f"{number}.png", number, 35 * (number % 5))
    write_table(tmp_path / "labels.csv", ("image", "label"), *((f"{n}.png", "abcde"[n % 5]) for n in range(60)))
    draw_noise(tmp_path / "image.jpg", 1, 35)
    for part, letter, count in (("Training", "a", 40), ("Testing", "b", 10)):
        names = [f"IDRiD_{number:03}" for number in range(1, count + 1)]
        pictures = tmp_path / "IDRiD" / OFFICIAL / "1. Original Images" / f"{letter}. {part} Set"
        for number, name in enumerate(names):
            draw_noise(pictures / f"{name}.jpg", number + 100 * len(part), 35 * (number % 5))
        rows = [(name, number % 5, 0) for number, name in enumerate(names)]
        labels = f"{letter}. IDRiD_Disease Grading_{part} Labels.csv"
        header = ("Image name", "Retinopathy grade", "Risk of macular edema")
        write_table(tmp_path / "IDRiD" / OFFICIAL / "2. Groundtruths" / labels, header, *rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def smaller(words: list[str]) -> list[str]:
    """Return a command of a page with what makes its study small; a network that the page names stays."""
    if words[0] != "run":
        return words
    network = [] if "--backbone" in words else ["--backbone", "test_resnet", "--weights", "none"]
    goal = [] if "--test-fraction" in words else ["--goal", "best"]
    settings = [word for path, value in SMALL.items() for word in ("--set", f"{path}={value}")]
    return [*words, *network, *goal, *settings, "--trials", "1", "--study", "STUDY"]


@pytest.mark.parametrize(("page", "lines"), COMMANDS, ids=[f"{page}-{lines[0][:40]}" for page, lines in COMMANDS])
def test_the_commands_of_a_block_run_one_after_the_other(page, lines, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for line in lines:
        words = shlex.split(line.replace("SOURCE", "images/").replace("~", str(folder)), comments=True)[1:]
        done = subprocess.run(
            [sys.executable, "-m", "study", *smaller(words)],
            cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{page}: {line}\n{done.stdout}"


@pytest.mark.parametrize(("page", "code"), PYTHON, ids=[f"{page}-{n}" for n, (page, _) in enumerate(PYTHON)])
def test_a_python_block_runs(page, code, folder, monkeypatch):
    def run_small(*, trials: int, settings: dict[str, Any] | None = None, **options: Any) -> Any:
        assert trials >= 20
        network = {"backbone": "test_resnet", "weights": "none", "study": "STUDY", "data": "images/"}
        goal = {} if "verdict" in code else {"goal": "best"}
        given = options.get("space")
        fixed = given.get("fixed", {}) if isinstance(given, dict) else {}
        small = {path: value for path, value in SMALL.items() if path not in fixed}
        options = {"console": Console(quiet=True), **network, **goal, **options}
        return run_study(trials=2, settings={**small, **(settings or {})}, **options)

    monkeypatch.setattr(study, "run_study", run_small)
    if "STUDY" in code:
        run_small(trials=20)
    if "from ray import" not in code:
        exec(compile(code.replace("trials/0042", "trials/0000"), page, "exec"), {"__name__": "user"})  # noqa: S102
        return
    for given, here in (("num_samples=45", "num_samples=2"), ('"depth_phase.epochs": 5}', TINY_TUNE)):
        assert given in code
        code = code.replace(given, here)
    (folder / "script.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    subprocess.run([sys.executable, "script.py"], env=environment, check=True)
    assert Path("results/mine/study.db").exists()
