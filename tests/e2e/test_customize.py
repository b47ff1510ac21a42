"""The page on samplers, pruners and trainers of one's own: its code and its commands run as they stand there."""

import os
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import optuna
import pytest
from rich.console import Console

import study
from drft.config.trial_config import TrialConfig
from study.pruners.factory import make_pruner
from study.run import run_study
from study.samplers.factory import make_sampler
from study.space import Space
from study.storage.open import open_storage
from tests.helpers import ROOT
from tests.helpers.pages import code_blocks
from tests.helpers.small_images import draw_noise, write_table

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PAGE = (ROOT / "docs" / "customize.md").read_text()
SPACE = """
name: tiny
question: Does the program work?
fixed: {image_size: 32, batch_size: 16, head_phase.epochs: 1, depth_phase.epochs: 2}
search:
  depth: {type: int, low: 0, high: 1}
  depth_phase.lr: {type: float, low: 1e-4, high: 1e-2, log: true}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of a user: 40 small images, a search space, and the modules that the page shows."""
    blocks = code_blocks(PAGE, "python")
    (tmp_path / "my_search.py").write_text("\n".join(block for block in blocks if "optuna" in block))
    (tmp_path / "my_training.py").write_text(next(block for block in blocks if "def make" in block))
    (tmp_path / "tiny.yaml").write_text(SPACE)
    write_table(tmp_path / "labels.csv", ("image", "label"), *((f"{n}.png", "ab"[n % 2]) for n in range(40)))
    for index in range(40):
        draw_noise(tmp_path / f"{index}.png", index, 40 * (index % 2))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in ("my_search", "my_training"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def run(folder: Path, command: str, *options: str) -> str:
    """Run a command of the page on the small images, and return what it prints."""
    assert command in PAGE.splitlines()
    arguments = shlex.split(command.removeprefix("PYTHONPATH=. drft-study "))
    given = "--space tiny.yaml --data labels.csv --backbone test_resnet --weights none --study own --jobs 1 --no-report"
    result = subprocess.run(
        [sys.executable, "-m", "study", *arguments, *given.split(), *options],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        env={**os.environ, "PYTHONPATH": f".{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_a_study_is_searched_and_resumed_with_functions_of_ones_own(folder):
    command = "PYTHONPATH=. drft-study run --trials 100 --sampler my_search:sampler"
    printed = run(folder, command, "--trials", "1", "--goal", "best", "--study", "first")
    assert "sampler my_search:sampler, pruner predictive" in printed
    command += " --pruner my_search:pruner"
    assert "Train " in run(folder, command, "--trials", "2")
    run(folder, command, "--trials", "4", "--sampler", "my_search:from_the_best", "--pruner", "my_search:within_depth")
    url = f"sqlite:///{folder}/results/own/study.db"
    trials = optuna.load_study(study_name="own", storage=open_storage(url)).trials
    assert Counter(trial.params["depth"] for trial in trials) == {0: 2, 1: 2}
    assert [(trial.user_attrs["sampler"], trial.user_attrs["pruner"]) for trial in trials] == [
        *2 * [("my_search:sampler", "my_search:pruner")],
        *2 * [("my_search:from_the_best", "my_search:within_depth")],
    ]


def test_the_sampler_and_the_pruner_written_from_scratch_do_what_the_page_says(folder):
    space = Space.parse(SPACE, "tiny.yaml").bind(TrialConfig(), 8)
    toy = optuna.create_study(
        direction="maximize",
        sampler=make_sampler("my_search:from_the_best", seed=0, space=space, finished_trials=0, goal="depth"),
        pruner=make_pruner("my_search:within_depth", first_step=2, last_step=3),
    )
    stopped = []
    for _ in range(60):
        trial = toy.ask()
        config = space.suggest(trial)
        score = config.depth_phase.lr * 10 ** (2 * config.depth)  # one depth is better by far
        trial.report(score, 2)
        stopped.append(trial.should_prune())
        toy.tell(trial, score)
    rates = [trial.params["depth_phase.lr"] for trial in toy.trials]
    assert Counter(trial.params["depth"] for trial in toy.trials) == {0: 30, 1: 30}
    assert len(set(rates[:20])) == 20
    assert len(set(rates[20:])) < 35  # about half of them are rates of the best trials
    of_depth = Counter(trial.params["depth"] for stop, trial in zip(stopped, toy.trials, strict=True) if stop)
    assert all(3 <= of_depth[depth] <= 20 for depth in (0, 1)), of_depth  # of the better one as many as of the other


def test_a_study_is_run_with_the_trainer_and_a_sampler_of_the_calling_module(folder, monkeypatch):
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "sampler", lambda space, seed: optuna.samplers.RandomSampler(seed), raising=False)
    small = {
        "trials": 1, "space": str(folder / "tiny.yaml"), "data": str(folder / "labels.csv"), "backbone": "test_resnet",
        "weights": "none", "jobs": 1, "goal": "best", "results": folder / "results", "report": False,
        "sampler": "__main__:sampler", "console": Console(quiet=True),
    }  # fmt: skip
    runs = []
    monkeypatch.setattr(study, "run_study", lambda **given: runs.append(run_study(**given | small)), raising=False)
    (block,) = (block for block in code_blocks(PAGE, "python") if block.startswith("from study import run_study"))
    exec(block)  # noqa: S102
    (finished,) = runs
    assert finished.progress.complete == 1, finished.reason
    assert finished.results.info.samplers == ("__main__:sampler",)
    assert "trainer: my_training:make" in (folder / "results" / finished.results.info.name / "study.yaml").read_text()
