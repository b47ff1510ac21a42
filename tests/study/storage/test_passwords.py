"""No message shows the password of a storage, encoded or not."""

import pytest
from sqlalchemy.exc import ArgumentError

from drft.errors import StudyError
from study.cli.options import shown_command
from study.setup.options import RunOptions
from study.storage.open import open_storage, public_url

URLS = [
    "postgresql://user:secret@127.0.0.1:1/db",
    "postgresql://user:secret%40x%2Fy@127.0.0.1:1/db",
    "postgresql://user:a@b:secret/d@127.0.0.1:1/db",
    "postgresql://user:secret/a@127.0.0.1:1/db",
    "postgresql://user:secret@127.0.0.1:port/db",
    "postgresql://user:se?secret@127.0.0.1:1/db",
    "postgresql://:secret@127.0.0.1:1/db",
    "postgresql://127.0.0.1:1/db?user=u&password=secret",
    "postgresql://127.0.0.1:1/db?sslpassword=secret&user=u",
    "mysql://user:secret@127.0.0.1:1/db",
    "nonsense://user:secret@127.0.0.1:1/db",
    "postgresql+secret://user:secret@127.0.0.1:1/db",
]


@pytest.mark.parametrize("url", URLS[:-1])
def test_an_error_does_not_show_the_password(url: str):
    assert "secret" not in public_url(url)
    with pytest.raises(StudyError) as caught:
        open_storage(url)
    assert "secret" not in str(caught.value)
    assert len(caught.value.faults) == 1


def test_a_password_in_the_error_of_a_library_is_hidden(monkeypatch):
    def fail(url: str) -> None:
        raise ArgumentError(f"cannot connect with p@ss/word, from {url}")

    monkeypatch.setattr("sqlalchemy.create_engine", fail)
    with pytest.raises(StudyError) as caught:
        open_storage("postgresql://user:p%40ss%2Fword@127.0.0.1/db")
    assert not any(part in str(caught.value) for part in ("p@ss", "p%40ss", "word"))


def test_an_unencoded_password_is_refused_with_advice():
    with pytest.raises(StudyError, match=r"user:\*\*\*@127.0.0.1/db: .*encoded in the URL: @ as %40"):
        open_storage("postgresql://user:a@b@127.0.0.1/db")


@pytest.mark.parametrize("url", URLS)
def test_neither_the_command_nor_the_options_show_it(url: str, monkeypatch):
    monkeypatch.setattr("sys.argv", ["drft-study", "run", f"--storage={url}"])
    assert "secret@" not in shown_command(url)
    assert "=secret" not in shown_command(url)
    assert "secret@" not in repr(RunOptions(storage=url))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("results/s/study.db", "results/s/study.db"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("postgresql://user:pw@host:5432/db", "postgresql://user:***@host:5432/db"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
    ],
)
def test_the_rest_is_shown(url: str, shown: str):
    assert public_url(url) == shown
