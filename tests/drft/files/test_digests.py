"""Stored digests are used while the files are unchanged, and never for changed files."""

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drft.data import open_dataset
from drft.data.datasets import audit
from drft.errors import DataError
from drft.files.digests import MAX_SOURCES, Digests, file_digest

LONG_AGO = 1_500_000_000


@pytest.fixture
def settle(monkeypatch):
    """Set the clock a minute ahead, so that the files have been unchanged for long."""
    import time

    real = time.time_ns
    monkeypatch.setattr("drft.files.digests.time.time_ns", lambda: real() + 60 * 10**9)


@pytest.fixture
def files(tmp_path, settle):
    paths = [tmp_path / name for name in ("a.jpg", "b.jpg")]
    for path in paths:
        path.write_text(path.name)
    return paths


def store(files, cache):
    digests = Digests(files, cache)
    digests.store({file: f"digest of {file.read_text()}" for file in files})


def known(files, cache):
    digests = Digests(files, cache)
    return [digests.get(file) for file in files]


def test_stored_digests_are_found_again(files, tmp_path):
    assert known(files, tmp_path / "cache") == [None, None]
    store(files, tmp_path / "cache")
    assert known(files, tmp_path / "cache") == ["digest of a.jpg", "digest of b.jpg"]


@pytest.mark.parametrize("same_time", [False, True])
def test_a_changed_file_has_no_digest_even_if_size_and_time_are_the_same(files, tmp_path, same_time):
    store(files, tmp_path / "cache")
    before = files[0].stat()
    files[0].write_text("A.jpg")
    if same_time:
        os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert known(files, tmp_path / "cache") == [None, "digest of b.jpg"]


def test_the_digest_of_a_file_that_changed_just_now_is_not_stored(tmp_path):
    file = tmp_path / "a.jpg"
    file.write_text("a")
    store([file], tmp_path / "cache")
    assert known([file], tmp_path / "cache") == [None]


def test_a_deleted_file_has_no_digest(files, tmp_path):
    store(files, tmp_path / "cache")
    files[0].unlink()
    assert known(files, tmp_path / "cache") == [None, "digest of b.jpg"]


@given(st.floats(0, 0.999), st.integers(1, 255), st.floats(0, 1))
def test_a_damaged_index_is_ignored(tmp_path_factory, position, flipped, share):
    folder = tmp_path_factory.mktemp("damaged")
    file = folder / "a.jpg"
    file.write_text("a")
    digests = Digests([file], folder)
    digests._now += 60 * 10**9
    digests.store({file: "digest"})
    (index,) = (folder / "digests").iterdir()
    content = bytearray(index.read_bytes())
    content[int(position * len(content))] ^= flipped
    index.write_bytes(content[: int(share * len(content))])
    assert known([file], folder) == [None]


def test_an_index_of_another_version_is_ignored(files, tmp_path):
    store(files, tmp_path / "cache")
    (index,) = (tmp_path / "cache" / "digests").iterdir()
    text = index.read_text().partition("\n")[2].replace('"version": 1', '"version": 0')
    index.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    assert known(files, tmp_path / "cache") == [None, None]


def test_a_cache_that_cannot_be_written_is_skipped(files, tmp_path):
    (tmp_path / "cache").write_text("")
    store(files, tmp_path / "cache")
    assert known(files, tmp_path / "cache") == [None, None]


def test_only_the_digests_of_the_latest_sources_are_stored(files, tmp_path):
    folder = tmp_path / "cache" / "digests"
    folder.mkdir(parents=True)
    for number in range(MAX_SOURCES + 5):
        old = folder / f"{number:032x}.json"
        old.write_text("")
        os.utime(old, (LONG_AGO + number, LONG_AGO + number))
    store(files, tmp_path / "cache")
    assert len(list(folder.iterdir())) == MAX_SOURCES
    assert known(files, tmp_path / "cache") == ["digest of a.jpg", "digest of b.jpg"]


def test_unchanged_images_are_not_read_again(kaggle_copy, tmp_path, monkeypatch, settle):
    source = str(kaggle_copy({"IDRiD_001": 1, "IDRiD_002test": 2}))
    first = open_dataset(source, cache_dir=tmp_path / "cache")
    monkeypatch.setattr(audit, "checked_digest", lambda path: pytest.fail(f"{path} was read"))
    assert open_dataset(source, cache_dir=tmp_path / "cache") == first


def test_faulty_images_are_reported_each_time(kaggle_copy, tmp_path, settle):
    source = kaggle_copy({"IDRiD_001": 1, "IDRiD_002": 2})
    next(source.rglob("IDRiD_002.jpg")).write_bytes(b"")
    for _ in range(2):
        with pytest.raises(DataError, match=r"IDRiD_002\.jpg is empty"):
            open_dataset(str(source), cache_dir=tmp_path / "cache")


def test_a_file_digest_is_the_sha256_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
