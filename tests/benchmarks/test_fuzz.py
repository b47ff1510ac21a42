"""Damaged files: how they are made, and that no fault goes unseen."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.fuzz import KINDS, FileKind, _check_originals, mutate, outcome, rows
from drft.errors import DataError


def kind(read) -> FileKind:
    return FileKind("made up", ".bin", lambda: [b"valid"], read)


def test_a_seed_makes_the_same_file_again_and_others_make_others() -> None:
    original = bytes(range(256)) * 4
    files = [mutate(original, [b"other"], np.random.default_rng(seed)) for seed in range(40)]
    assert files == [mutate(original, [b"other"], np.random.default_rng(seed)) for seed in range(40)]
    assert len({*files}) > 30
    assert {len(file) < len(original) for file in files} == {True, False}
    mutate(b"", [b"other"], np.random.default_rng(0))  # an empty file has no parts


@pytest.mark.parametrize("position", range(len(KINDS)))
def test_the_valid_files_are_made_the_same_again(position: int) -> None:
    made = KINDS[position].originals()
    torch.manual_seed(7)
    assert KINDS[position].originals() == made


def test_every_way_to_fail_is_told_apart(tmp_path: Path) -> None:
    def broken(_path):
        raise KeyError("grade")

    def refusing(_path):
        raise DataError("no images")

    path = tmp_path / "x"
    assert outcome(kind(lambda _path: iter([np.array([1, 2])])), path) == "read"
    assert outcome(kind(lambda _path: iter([np.array([1.0, np.nan])])), path) == "not finite"
    assert outcome(kind(refusing), path) == "refused"
    assert "KeyError: 'grade'" in outcome(kind(broken), path)


@pytest.mark.parametrize("position", range(len(KINDS)))
def test_the_valid_files_are_read(position: int) -> None:
    _check_originals(KINDS[position])


def test_valid_files_that_are_refused_end_the_run() -> None:
    def refusing(_path):
        raise DataError("no images")

    with pytest.raises(RuntimeError, match="valid file 0 of made up: refused"):
        _check_originals(kind(refusing))


def test_the_table_sums_over_kinds() -> None:
    table = rows({"images": Counter(read=2, refused=3), "tables": Counter(exception=1)})
    assert table == [
        ("images", "5", "2", "3", "0", "0", "0", "0"),
        ("tables", "1", "0", "0", "1", "0", "0", "0"),
        ("all", "6", "2", "3", "1", "0", "0", "0"),
    ]
