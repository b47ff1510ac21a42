"""Which files are evicted, and how sizes are written."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drft.feature_cache.eviction import files_to_evict
from drft.feature_cache.index import StoredFile, default_budget
from drft.files.locks import holding
from drft.files.sizes import format_size, parse_size

NOW = 1e9
HOUR = 3600.0


@st.composite
def stored(draw: st.DrawFn) -> StoredFile:
    name = draw(st.sampled_from(["view.safetensors", ".view.x.safetensors"]))
    last_used = NOW - draw(st.sampled_from([0.5, 2, 10, 30, 100])) * HOUR
    return StoredFile(Path(name), draw(st.integers(1, 50)), last_used, draw(st.sampled_from([1.0, 2.0, 3.0])))


@given(
    files=st.lists(stored()), excess=st.integers(0, 300), more=st.integers(0, 300), saved=st.sampled_from([1.0, 2.0])
)
def test_evicted_files_make_enough_room_and_no_more_than_needed(files, excess, more, saved):
    evicted, admitted = files_to_evict(files, excess, excess + more, saved, NOW)
    evictable = [file for file in files if not file.is_draft or NOW - file.last_used > HOUR]
    freed = sum(file.size for file in evicted)
    goal = excess + more if admitted else excess
    assert freed >= min(goal, sum(file.size for file in evictable))
    assert not evicted or freed - evicted[-1].size < goal
    if admitted:
        assert freed >= goal
    assert {id(file) for file in evicted} <= {id(file) for file in evictable}


@given(files=st.lists(stored()), need=st.integers(1, 300), saved=st.sampled_from([1.0, 2.0]))
def test_no_recently_used_file_is_evicted_for_one_that_saves_less(files, need, saved):
    evicted, _ = files_to_evict(files, 0, need, saved, NOW)
    assert all(file.is_draft or file.seconds_per_byte <= saved or NOW - file.last_used > 24 * HOUR for file in evicted)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("20GB", 20 * 10**9),
        ("500 MB", 500 * 10**6),
        ("1.5GiB", 3 * 2**29),
        ("2t", 2 * 10**12),
        (" 7kb ", 7000),
        ("12B", 12),
        ("0.0", 0),
    ],
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "20", "GB", "-1GB", "1e3MB", "20 XB", "5 iB", "nan", "1 GB 2"])
def test_text_that_is_no_size_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match=r"is no size: write .* 20GB") as refused:
        parse_size(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (1.25e9, "1.2 GB"),
        (3e15, "3000.0 TB"),
    ],
)
def test_sizes_are_written(size, text):
    assert format_size(size) == text


def test_the_default_budget_leaves_most_of_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("drft.feature_cache.index.disk_space", lambda _: (10**12, 4 * 10**9))
    assert default_budget(tmp_path / "none yet") == 10**9
    monkeypatch.setattr("drft.feature_cache.index.disk_space", lambda _: (10**12, 10**12))
    assert default_budget(tmp_path) == 20 * 10**9


def test_stored_files_count_as_free_space(tmp_path, monkeypatch):
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "view.safetensors").write_bytes(bytes(4000))
    monkeypatch.setattr("drft.feature_cache.index.disk_space", lambda _: (10**12, 0))
    assert default_budget(tmp_path) == 1000


def test_waiting_for_a_lock_ends(tmp_path):
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with holding(tmp_path / "lock", 60):
            taken.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(60)
    with holding(tmp_path / "lock", 0.0):
        done.set()
    holder.join()
    with holding(tmp_path / "lock", 60):
        pass
