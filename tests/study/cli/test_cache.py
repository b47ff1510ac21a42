"""``drft-study cache``, as a user calls it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from drft.feature_cache.cache import ActivationCache
from drft.feature_cache.index import CacheGroup, activations_folder
from study.cli import main
from study.cli.cache import command

GROUP = CacheGroup("ab12", {"backbone": "resnet18", "depth": 2, "image_size": 224}, 1e-6)
OTHER = CacheGroup("cd34", {"backbone": "vit_tiny", "depth": 3, "image_size": 96}, 1e-6)


@pytest.fixture
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(cache_dir: Path, group: CacheGroup, *names: str) -> ActivationCache:
    cache = ActivationCache(activations_folder(cache_dir), 10**9)
    for name in names:
        cache.put(group, name, (torch.arange(10_000.0).reshape(10, 1000),))
    return cache


def add_images(cache_dir: Path) -> None:
    (cache_dir / "images").mkdir(parents=True)
    np.save(cache_dir / "images" / "abc.npy", np.zeros((5, 8, 8, 3), np.uint8))
    for origin in ("train", "test"):
        (cache_dir / "synthetic" / "0123" / origin).mkdir(parents=True)
        (cache_dir / "synthetic" / "0123" / origin / "SYN_001.jpg").write_bytes(bytes(1500))


def call(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(command, arguments, input=typed, prog_name="drft-study cache")


def words(output: str) -> list[str]:
    """The lines of an output with single spaces."""
    return [" ".join(line.split()) for line in output.splitlines()]


def test_info_prints_the_folder_and_the_content_of_the_cache(cache_dir):
    add_images(cache_dir)
    put(cache_dir, GROUP, "a", "b")
    put(cache_dir, OTHER, "a")
    then = time.mktime((2026, 3, 1, 12, 30, 0, 0, 0, -1))
    os.utime(cache_dir / "activations" / "cd34" / "a.safetensors", (then, then))
    lines = words(call("info").output)
    assert str(cache_dir) in lines[0]
    assert any(line.startswith("decoded images 1 1.1 kB") for line in lines)
    assert any(line.startswith("rendered images 2 3.0 kB") for line in lines)
    assert any(line.startswith("activations 3 120.") for line in lines)
    assert any(line.startswith("total 6 124.") for line in lines)
    assert any(line.startswith("activations may use ") for line in lines)
    assert "backbone depth image size entries size last used" in lines
    assert any(line.startswith("resnet18 2 224 2 80.") for line in lines)
    assert "vit_tiny 3 96 1 40.2 kB 2026-03-01 12:30" in lines


def test_info_of_an_empty_cache_creates_nothing(cache_dir):
    result = call("info")
    assert result.exit_code == 0
    assert "total 0 0 bytes" in words(result.output)
    assert "backbone" not in result.output
    assert not cache_dir.exists()


def test_info_lists_groups_without_a_readable_description(cache_dir):
    put(cache_dir, GROUP, "a")
    put(cache_dir, OTHER, "a")
    (cache_dir / "activations" / "ab12" / "about.json").write_text("garbage")
    assert any(line.startswith("? ? ? 1 40.") for line in words(call("info").output))


def test_clear_asks_first(cache_dir):
    put(cache_dir, GROUP, "a")
    result = call("clear", typed="n\n")
    assert result.exit_code == 1
    assert str(cache_dir) in result.output
    assert put(cache_dir, GROUP).get(GROUP, "a") is not None
    assert "1 file deleted, 40.2 kB freed" in call("clear", typed="y\n").output
    assert put(cache_dir, GROUP).get(GROUP, "a") is None


def test_clear_deletes_activations_only(cache_dir):
    add_images(cache_dir)
    put(cache_dir, GROUP, "a", "b")
    result = call("clear", "--yes")
    assert result.output == "2 files deleted, 80.4 kB freed\n"
    assert not (cache_dir / "activations" / "ab12").exists()
    assert (cache_dir / "images" / "abc.npy").exists()
    assert (cache_dir / "synthetic" / "0123" / "train" / "SYN_001.jpg").exists()


def test_clear_all_deletes_images_too(cache_dir):
    add_images(cache_dir)
    put(cache_dir, GROUP, "a")
    assert call("clear", "--all", "--yes").output.startswith("4 files deleted, 44.")
    assert list((cache_dir / "images").iterdir()) == []
    assert list((cache_dir / "synthetic").iterdir()) == []


def test_clear_keeps_recent_drafts_of_running_processes(cache_dir):
    add_images(cache_dir)
    put(cache_dir, GROUP, "a")
    drafts = [cache_dir / "activations/ab12/.b.x.safetensors", cache_dir / "images/.def.x.npy"]
    rendering = cache_dir / "synthetic" / ".rendering-x"
    rendering.mkdir()
    for draft in drafts:
        draft.write_bytes(bytes(100))
    assert any(line.startswith("decoded images 2 1.2 kB") for line in words(call("info").output))
    assert call("clear", "--all", "--yes").exit_code == 0
    assert all(path.exists() for path in (*drafts, rendering))
    for path in (*drafts, rendering):
        os.utime(path, (1e9, 1e9))
    assert call("clear", "--all", "--yes").output == "2 files deleted, 200 bytes freed\n"
    assert not any(path.exists() for path in (*drafts, rendering))


def test_clear_of_an_empty_cache_frees_nothing(cache_dir):
    assert call("clear", "--all", "--yes").output == "0 files deleted, 0 bytes freed\n"


def test_a_worker_continues_when_the_cache_is_cleared(cache_dir):
    cache = put(cache_dir, GROUP, "a")
    entry = cache.get(GROUP, "a")
    assert call("clear", "--yes").exit_code == 0
    assert entry is not None
    assert entry.rows(torch.tensor([1]))[0][0, 0] == 1000
    assert cache.put(GROUP, "b", (torch.zeros(2, 2),)).stored


def test_a_file_that_cannot_be_deleted_is_one_line(cache_dir, monkeypatch, capsys):
    put(cache_dir, GROUP, "a")

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(sys, "argv", ["drft-study", "cache", "clear", "--yes"])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "a.safetensors: cannot be deleted (Permission denied)" in error


def test_neither_help_nor_info_imports_torch(cache_dir):
    script = "import sys; from study.cli import cli; cli({}, standalone_mode=False); print('torch' in sys.modules)"
    for arguments in (["cache", "--help"], ["cache", "info"]):
        result = subprocess.run(
            [sys.executable, "-c", script.format(arguments)], capture_output=True, text=True, check=True
        )
        assert result.stdout.endswith("False\n")
