"""A newcomer: from the wheel, in an empty environment and folder, follows README and Getting started word for word.

It takes a quarter of an hour: ``python -m pytest -m slow tests/e2e/test_newcomer.py``.
"""

import os
import re
import subprocess
import sys

import pytest
from PIL import Image

from tests.helpers import ROOT
from tests.helpers.pages import code_blocks

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(3600)]

REPORT = re.compile(r"`(results/\S+/report/index\.html)`")


def blocks(page: str, language: str = "") -> list[str]:
    """Return the code blocks of a page; those without a language are commands."""
    return code_blocks((ROOT / page).read_text(), language)


def commands(page: str) -> list[str]:
    """Return the command lines of a page that call drft-study, without their comments."""
    lines = (line.partition("#")[0].strip() for block in blocks(page) for line in block.splitlines())
    return [line for line in lines if line.startswith("drft-study ")]


def beginnings(block: str) -> list[str]:
    """Return the words before the first number of each line of printed text, without those of continued lines."""
    lines = [line for line in block.splitlines() if not line.startswith("    ")]
    return [words for line in lines if len(words := re.split(r"[-+\u2212]?\d", line)[0].strip()) > 3]


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory):
    """Return a function that runs a command line as a newcomer would: nothing of this clone is in its environment."""
    folder = tmp_path_factory.mktemp("newcomer")
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "HOME", "LANG", "PIP_"))}
    environment = {**kept, "DRFT_CACHE": str(folder / "cache")}
    wheels = folder / "wheels"
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(wheels), str(ROOT)]
    subprocess.run(build, check=True, env=environment)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, env=environment)
    environment["PATH"] = f"{folder / 'venv' / 'bin'}:{environment['PATH']}"
    environment.pop("PYTHONPATH", None)
    (wheel,) = wheels.glob("*.whl")
    install, _, first = blocks("README.md")[0].strip().partition(" && ")
    assert install == "python -m pip install . -c constraints.txt"
    assert first == "drft-study run --trials 100"
    place = folder / "place"
    place.mkdir()

    def run(line: str) -> str:
        words = line.replace(" . ", f" {wheel} ").replace("constraints.txt", str(ROOT / "constraints.txt")).split()
        done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    run(install)
    return run, place


def test_readme_and_getting_started_are_true(newcomer):
    run, place = newcomer
    page = "docs/getting-started.md"
    assert blocks("README.md")[0].strip().endswith(commands(page)[0])
    printed = ""
    for command in commands(page):
        if command.startswith("drft-study predict"):
            Image.effect_mandelbrot((300, 300), (-2, -1.5, 1, 1.5), 50).convert("RGB").save(place / command.split()[-1])
        printed += run(command)
    shown = [words for block in blocks(page, "text") for words in beginnings(block)]
    flat = " ".join(printed.split())
    assert [words for words in shown if " ".join(words.split()) not in flat] == []
    named = {path for name in ("README.md", page) for path in REPORT.findall((ROOT / name).read_text())}
    assert named
    assert all((place / path).is_file() for path in named)
    assert list((place / "model").iterdir())
