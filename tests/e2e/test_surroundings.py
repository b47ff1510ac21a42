"""Scripts without a main guard, outputs that are full, and archives that cannot be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.storage.open import close_storage, is_read_only, open_storage
from tests.helpers import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CALL = """
from drft.config.trial_config import TrialConfig
from study.executors import Job, LocalExecutor, Reported, Workload, cpu_slots

with LocalExecutor(Workload("none", trainer="tests.helpers.fake_training:fake_trainer"), cpu_slots(1)) as executor:
    executor.submit(Job(0, TrialConfig()))
    events = []
    while not any(isinstance(event, Reported) for event in events):
        events += executor.wait(60)
print("trained")
"""


@pytest.mark.parametrize("way", ["a file", "standard input", "-c"])
def test_a_script_needs_no_main_guard(way: str, tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(CALL)
    words = {"a file": [str(script)], "standard input": ["-"], "-c": ["-c", CALL]}[way]
    result = subprocess.run(
        [sys.executable, *words],
        input=CALL if way == "standard input" else None,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )
    assert result.stdout == "trained\n", result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["spaces", "list"], ["cache", "info"]])
def test_a_full_output_is_one_line(words: list[str]):
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "study", *words],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr == "error: the output: No space left on device: choose a place that can be written\n"


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no such limit")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--trials", "1"], "address space of a process is limited to 2.1 GB"),
        (["blocks", "test_resnet"], "address space of a process is limited to 2.1 GB"),
        (["status", "nothing"], "no study 'nothing' in results"),
    ],
)
def test_a_limit_on_the_memory_of_processes_is_one_line(words: list[str], said: str, tmp_path: Path):
    import resource

    result = subprocess.run(
        [sys.executable, "-m", "study", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert result.stderr.count("\n") == 1, result.stderr
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_cannot_be_written_is_read_from_a_copy(tmp_path: Path, monkeypatch):
    path = tmp_path / "study.db"
    close_storage(open_storage(path))
    before = sorted(tmp_path.iterdir())
    access = os.access
    monkeypatch.setattr("os.access", lambda place, mode: place not in {path, tmp_path} and access(place, mode))
    assert is_read_only(path)
    storage = open_storage(path, create=False)
    assert storage.get_all_studies() == []
    assert sorted(tmp_path.iterdir()) == before  # SQLite has made no file beside it
