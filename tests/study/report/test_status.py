"""The lines of ``drft-study status``."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from drft.errors import StudyError
from study.report.status import _arguments, status_lines
from study.results.study_results import read_study


def test_a_study_whose_tuner_was_killed_while_it_created_it_is_one_line(make_study, tmp_path: Path):
    make_study(tmp_path, "demo", [])
    with closing(sqlite3.connect(tmp_path / "demo" / "study.db")) as database, database:
        database.execute("DELETE FROM study_user_attributes WHERE key = 'trials_wanted'")
    lines = []
    for read in (status_lines, read_study):
        with pytest.raises(
            StudyError, match=r"incomplete, it lacks trials_wanted: run `drft-study run` again"
        ) as caught:
            read("demo", tmp_path)
        lines.append(str(caught.value))
    assert lines[0] == lines[1]


def test_the_command_of_the_report_hides_the_password_of_the_storage():
    shown = _arguments("demo", Path("results"), "postgresql://user:secret@host/studies")
    assert shown == "demo --storage 'postgresql://user:***@host/studies'"
