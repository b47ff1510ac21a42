"""The working folder holds the user's files: none of them is run, whatever its name."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from study.cli import COMMANDS
from tests.helpers import ROOT
from tests.helpers.small_images import draw_noise, write_table

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SPACE = """
question: Is a file of the working folder run?
fixed: {image_size: 32, head_phase.epochs: 1, depth_phase.epochs: 1}
search:
  depth: {type: int, low: 0, high: 1}
"""
LIBRARIES = frozenset(
    {
        "click",
        "drft",
        "numpy",
        "optuna",
        "PIL",
        "ray",
        "sitecustomize",
        "torch",
        "timm",
        "usercustomize",
        "yaml",
    }
)
SCRIPT = 'import sys\nfrom study.cli import main\nif __name__ == "__main__":\n    main()\n'
"""The script that pip installs as ``drft-study``; Python puts its folder, and not the working folder, on the path."""

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``bin/drft-study``, a data set, a space, and ``work``, which has a file of every module's name."""
    place = tmp_path_factory.mktemp("place")
    (place / "bin").mkdir()
    (place / "bin" / "drft-study").write_text(SCRIPT)
    (place / "space.yaml").write_text(SPACE)
    for index in range(40):
        draw_noise(place / "images" / f"p{index}.png", index, 40 * (index % 3))
    rows = [(f"p{index}", index % 3, "test" if index % 5 == 4 else "train") for index in range(40)]
    write_table(place / "labels.csv", ("image", "level", "origin"), *rows)
    fill(place / "work", place, sys.stdlib_module_names | LIBRARIES | {"study"})
    # ``python -m`` imports some of its own library before any module of ours can change the path.
    fill(place / "other", place, LIBRARIES | {"signal", "typing", "json", "random", "subprocess", "logging", "csv"})
    return place


def fill(folder: Path, place: Path, names: frozenset[str]) -> None:
    """Write modules that say that they were run, and then break their import."""
    folder.mkdir()
    for name in names:
        run = f"open({str(place / 'ran')!r}, 'a').write({name!r} + chr(10))\nraise ImportError({name!r})\n"
        (folder / f"{name}.py").write_text(run)


@pytest.fixture(scope="module")
def command(place: Path) -> Command:
    """Return a function that runs a program in a folder full of modules and returns how it ended."""

    def run(*words: str, program: Sequence[str] = (), folder: str = "work", wait: bool = False):
        (place / "ran").unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, *(program or [str(place / "bin" / "drft-study")]), *words],
            cwd=place / folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DRFT_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if wait:  # a command that does not end by itself: its first line says that it has begun
            assert process.stdout is not None
            first = process.stdout.readline()
            process.kill()
            process.communicate()
            return subprocess.CompletedProcess(words, 0, first)
        output, _ = process.communicate()
        return subprocess.CompletedProcess(words, process.returncode, output)

    return run


def study(place: Path, *more: str, results: str = "results", name: str = "s") -> list[str]:
    data = ["--data", str(place / "labels.csv"), "--images", str(place / "images"), "--jobs", "1"]
    space = ["--space", str(place / "space.yaml"), "--trials", "2", "--seed", "1", "--goal", "best"]
    return ["run", *data, *space, "--no-report", "--results", str(place / results), "--study", name, *more]


def nothing_ran(place: Path) -> bool:
    return not (place / "ran").exists()


RESULTS = ["--results", "../results"]
CALLS = {
    "status": ["s", *RESULTS],
    "report": ["s", *RESULTS],
    "soup": ["s", *RESULTS],
    "confirm": ["s", *RESULTS, "--top", "1", "--seeds", "1", "--jobs", "1"],
    "compare": ["s", "another", *RESULTS, "--out", "../comparison"],
    "export": ["s", *RESULTS, "--out", "../model"],
    "dashboard": ["s", *RESULTS, "--port", "0"],
    "blocks": ["mobilenetv3_small_050"],
    "spaces": ["explain", "../space.yaml"],
    "data": ["check", "../labels.csv", "--images", "../images"],
    "cache": ["info"],
}


@pytest.fixture(scope="module")
def studied(place: Path, command: Command) -> Path:
    """The place with two studies."""
    for name in ("s", "another"):
        result = command(*study(place, name=name))
        assert nothing_ran(place), (place / "ran").read_text()
        assert result.returncode == 0, result.stdout
    return place


@pytest.mark.parametrize("name", CALLS)
def test_no_command_runs_a_module_of_the_working_folder(studied: Path, command: Command, name: str):
    result = command(name, *CALLS[name], wait=name == "dashboard")
    assert nothing_ran(studied), (studied / "ran").read_text()
    assert "Traceback" not in result.stdout
    assert result.returncode == 0, result.stdout


def test_predict_runs_no_module_of_the_working_folder(studied: Path, command: Command):
    checkpoint = next(studied.glob("results/s/trials/*/best.safetensors"))
    result = command("predict", str(checkpoint), "../images")
    assert nothing_ran(studied), (studied / "ran").read_text()
    assert result.returncode == 0, result.stdout


def test_every_command_is_tested():
    assert {*CALLS, "run", "predict"} == {*COMMANDS}


@pytest.mark.parametrize("program", [["-m", "study"], ["-mstudy"]])
def test_python_m_study_takes_the_working_folder_off_its_path(place: Path, command: Command, program: list[str]):
    # A ``study.py`` beside the data cannot be told from this program: with one, only ``drft-study`` is safe.
    result = command(*study(place, results="by-name"), program=program, folder="other")
    assert nothing_ran(place)
    assert result.returncode == 0, result.stdout


def test_rendering_runs_no_module_of_the_working_folder(place: Path, command: Command):
    script = place / "bin" / "render"
    jobs = f"[RenderJob({str(place / 'p.jpg')!r}, (0,), 0, 48)] * 16"
    script.write_text(
        f"from drft.data.rendering.pool import RenderJob, render_files\nrender_files({jobs}, print, processes=2)\n"
    )
    result = command(program=[str(script)])
    assert nothing_ran(place)
    assert result.returncode == 0, result.stdout


def test_ray_runs_no_module_of_the_working_folder(place: Path, command: Command):
    pytest.importorskip("ray")
    result = command(*study(place, "--executor", "ray", results="on-ray"))
    assert nothing_ran(place), (place / "ran").read_text()
    assert result.returncode == 0, result.stdout
