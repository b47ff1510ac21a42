"""The folder of the cache, for users without a home folder."""

import pwd
from pathlib import Path

import pytest

from drft.errors import StudyError
from drft.files.atomic import default_cache_dir


@pytest.fixture(autouse=True)
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this user one without HOME and without an entry in the password file."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "DRFT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("named", [None, "~/cache", "~nobody-here/cache"])
def test_without_a_home_folder_a_cache_folder_must_be_named(named: str | None, monkeypatch: pytest.MonkeyPatch):
    if named:
        monkeypatch.setenv("DRFT_CACHE", named)
    with pytest.raises(StudyError, match="no home folder; name a folder with DRFT_CACHE"):
        default_cache_dir()


def test_a_named_folder_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DRFT_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
