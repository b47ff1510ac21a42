"""Digests of files read before: used while the files are unchanged, and never wrong."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drft.data import open_dataset
from drft.data.datasets import audit
from drft.files.digests import SOURCES, Digests, _checksum

LONG_AGO = 1_500_000_000


@pytest.fixture
def settle(monkeypatch):
    """Let files count as unchanged for long: the clock runs ahead by a minute."""
    import time

    real = time.time_ns
    monkeypatch.setattr("drft.files.digests.time.time_ns", lambda: real() + 60 * 10**9)


@pytest.fixture
def files(tmp_path, settle):
    found = [tmp_path / name for name in ("a.jpg", "b.jpg")]
    for file in found:
        file.write_text(file.name)
    return found


def note(files, cache):
    digests = Digests(files, cache)
    digests.keep({file: f"digest of {file.read_text()}" for file in files})


def known(files, cache):
    digests = Digests(files, cache)
    return [digests.of(file) for file in files]


def test_what_was_noted_is_known_again(files, tmp_path):
    assert known(files, tmp_path / "cache") == [None, None]
    note(files, tmp_path / "cache")
    assert known(files, tmp_path / "cache") == ["digest of a.jpg", "digest of b.jpg"]


@pytest.mark.parametrize("kept_time", [False, True])
def test_a_changed_file_is_unknown_even_if_size_and_time_are_the_same(files, tmp_path, kept_time):
    note(files, tmp_path / "cache")
    before = files[0].stat()
    files[0].write_text("A.jpg")
    if kept_time:
        os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert known(files, tmp_path / "cache") == [None, "digest of b.jpg"]


def test_a_file_that_changed_just_now_is_not_noted(tmp_path):
    file = tmp_path / "a.jpg"
    file.write_text("a")
    note([file], tmp_path / "cache")
    assert known([file], tmp_path / "cache") == [None]


def test_files_that_are_gone_are_unknown(files, tmp_path):
    note(files, tmp_path / "cache")
    files[0].unlink()
    assert known(files, tmp_path / "cache") == [None, "digest of b.jpg"]


@given(st.floats(0, 0.999), st.integers(1, 255), st.floats(0, 1))
def test_a_damaged_index_is_ignored(tmp_path_factory, place, flipped, left):
    folder = tmp_path_factory.mktemp("damaged")
    file = folder / "a.jpg"
    file.write_text("a")
    digests = Digests([file], folder)
    digests._now += 60 * 10**9
    digests.keep({file: "digest"})
    (index,) = (folder / "digests").iterdir()
    content = bytearray(index.read_bytes())
    content[int(place * len(content))] ^= flipped
    index.write_bytes(content[: int(left * len(content))])
    assert known([file], folder) == [None]


def test_an_index_of_another_version_is_ignored(files, tmp_path):
    note(files, tmp_path / "cache")
    (index,) = (tmp_path / "cache" / "digests").iterdir()
    text = index.read_text().partition("\n")[2].replace('"version": 1', '"version": 0')
    index.write_text(f"{_checksum(text)}\n{text}")
    assert known(files, tmp_path / "cache") == [None, None]


def test_a_cache_that_cannot_be_written_is_done_without(files, tmp_path):
    (tmp_path / "cache").write_text("")
    note(files, tmp_path / "cache")
    assert known(files, tmp_path / "cache") == [None, None]


def test_the_digests_of_many_sources_do_not_pile_up(files, tmp_path):
    folder = tmp_path / "cache" / "digests"
    folder.mkdir(parents=True)
    for number in range(SOURCES + 5):
        old = folder / f"{number:032x}.json"
        old.write_text("")
        os.utime(old, (LONG_AGO + number, LONG_AGO + number))
    note(files, tmp_path / "cache")
    assert len(list(folder.iterdir())) == SOURCES
    assert known(files, tmp_path / "cache") == ["digest of a.jpg", "digest of b.jpg"]


def test_unchanged_images_are_not_read_again(kaggle_copy, tmp_path, monkeypatch, settle):
    source = str(kaggle_copy({"IDRiD_001": 1, "IDRiD_002test": 2}))
    first = open_dataset(source, cache_dir=tmp_path / "cache")
    monkeypatch.setattr(audit, "checked_digest", lambda path: pytest.fail(f"{path} was read"))
    assert open_dataset(source, cache_dir=tmp_path / "cache") == first


def test_faulty_images_are_named_each_time(kaggle_copy, tmp_path, settle):
    from drft.errors import DataError

    source = kaggle_copy({"IDRiD_001": 1, "IDRiD_002": 2})
    next(source.rglob("IDRiD_002.jpg")).write_bytes(b"")
    for _ in range(2):
        with pytest.raises(DataError, match=r"IDRiD_002\.jpg is empty"):
            open_dataset(str(source), cache_dir=tmp_path / "cache")
