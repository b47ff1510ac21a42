"""Studies that are not found: one line that says what to do."""

from pathlib import Path

import optuna
import pytest

from drft.errors import StudyError
from study.results.locate import find_study
from study.storage.open import open_storage


@pytest.mark.parametrize("empty", [True, False])
def test_a_storage_without_a_study_says_so(tmp_path: Path, empty: bool):
    (tmp_path / "demo").mkdir()
    if empty:
        (tmp_path / "demo" / "study.db").touch()  # of a tuner killed before it created the tables
    else:
        open_storage(tmp_path / "demo" / "study.db")
    with pytest.raises(StudyError, match=r"study\.db holds no study: run the command of the study again"):
        find_study("demo", tmp_path)


def test_paths_may_be_texts(tmp_path: Path):
    folder = tmp_path / "demo"
    folder.mkdir()
    optuna.create_study(study_name="demo", storage=open_storage(folder / "study.db"))
    found = [find_study("demo", str(tmp_path)), find_study(folder), find_study(str(folder))]
    assert [location.folder for location in found] == [folder] * 3


@pytest.mark.parametrize(("study", "results"), [("a" * 300, "results"), ("demo", "a" * 300)])
def test_a_name_that_the_system_refuses_is_one_line(tmp_path: Path, study: str, results: str):
    with pytest.raises(StudyError, match="longer than the system allows; choose a shorter one") as caught:
        find_study(study, tmp_path / results)
    assert len(str(caught.value).splitlines()) == 1
