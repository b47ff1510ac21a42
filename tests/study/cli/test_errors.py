"""Errors of storages and of the system are one line, and no traceback."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from study.cli import main


def fail(monkeypatch, capsys, *words: str) -> tuple[int, str]:
    """Return the exit code and the error of a command."""
    monkeypatch.setattr("sys.argv", ["drft-study", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code, capsys.readouterr().err


@pytest.mark.parametrize("table", ["studies", "study_user_attributes", "trials", "trial_user_attributes"])
def test_a_database_with_a_damaged_page_is_one_line(make_study, tmp_path: Path, monkeypatch, capsys, table: str):
    make_study(tmp_path, "demo")
    path = tmp_path / "demo" / "study.db"
    with closing(sqlite3.connect(path)) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    content = path.read_bytes()
    path.write_bytes(content[: (page - 1) * size] + b"\x55" * size + content[page * size :])
    code, error = fail(monkeypatch, capsys, "status", "demo", "--results", str(tmp_path))
    assert code == 2
    assert (
        error == f"error: storage {path} cannot be read: database disk image is malformed; restore it from a backup\n"
    )


def test_a_database_that_lacks_a_table_is_one_line(make_study, tmp_path: Path, monkeypatch, capsys):
    make_study(tmp_path, "demo")
    path = tmp_path / "demo" / "study.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE trial_params")
    code, error = fail(monkeypatch, capsys, "status", "demo", "--results", str(tmp_path))
    assert code == 1
    assert error.startswith(f"error: storage {path} cannot be read or written: ")
    assert "no such table: trial_params" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("words", [["run", "--results", "a" * 300], ["status", "demo", "--storage", "a" * 300 + ".db"]])
def test_a_name_that_is_too_long_is_one_line(tmp_path: Path, monkeypatch, capsys, words: list[str]):
    monkeypatch.chdir(tmp_path)
    code, error = fail(monkeypatch, capsys, *words)
    assert code == 1
    assert error.endswith("File name too long: choose a shorter name\n")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [("report", "demo", "--out", ""), ("status", "demo", "--results", ""), ("predict", "", "x")]
)
def test_an_empty_path_is_not_the_working_folder(tmp_path: Path, monkeypatch, capsys, words: tuple[str, ...]):
    monkeypatch.chdir(tmp_path)
    code, error = fail(monkeypatch, capsys, *words)
    assert code == 2
    assert "it is empty: name a file or a folder" in error
    assert list(tmp_path.iterdir()) == []
