"""Scratch folders: deleted by their process, or, if it was killed, when the next one is made."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from drft.files.scratch import ScratchFolder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def make(longest: int = 500) -> ScratchFolder:
    return ScratchFolder(longest)


def killed(temporary: Path) -> Path:
    """Return the folder of a process that was killed."""
    script = f"""
import os, signal, tempfile
tempfile.tempdir = {str(temporary)!r}
from drft.files.scratch import ScratchFolder
print(ScratchFolder(500).path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    return Path(process.stdout.strip())


def test_a_folder_is_deleted_with_its_content(temporary: Path):
    folder = make()
    Path(folder.path, "pymp-x").mkdir()
    folder.delete()
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_killed_process_is_deleted_by_the_next_one(temporary: Path):
    left = [killed(temporary) for _ in range(2)]
    assert left[1].is_dir()
    assert not left[0].exists()
    folder = make()
    assert not left[1].exists()
    folder.delete()


def test_the_folder_of_a_living_process_stays():
    first, second = make(), make()
    assert Path(first.path).is_dir()
    first.delete()
    second.delete()


def test_folders_of_other_programs_stay(temporary: Path):
    (temporary / "drft-other").mkdir()
    (temporary / "pymp-other").mkdir()
    make().delete()
    assert sorted(path.name for path in temporary.iterdir()) == ["drft-other", "pymp-other"]


def test_a_long_path_is_avoided(temporary: Path):
    folder = make(longest=5)
    assert Path(folder.path).parent == Path("/tmp")  # noqa: S108
    folder.delete()
