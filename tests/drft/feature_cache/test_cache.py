"""The cache returns the right values whatever happens to the disk, and never exceeds its disk budget."""

import errno
import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drft.feature_cache import cache as cache_module
from drft.feature_cache.cache import ActivationCache
from drft.feature_cache.cache_file import CacheEntry, entry_file_size
from drft.feature_cache.index import CacheGroup, stored_files
from tests.helpers import cache_users
from tests.helpers.cache_users import NAMES, ROWS, groups, values

LARGE = 10**9
GROUP = CacheGroup("ab12", {"backbone": "resnet18", "depth": 2}, 1e-6)
FILE_SIZE = entry_file_size(CacheEntry.in_memory((values(GROUP, "any"),)))
DAY = 24 * 3600.0


@pytest.fixture(scope="session")
def processes() -> BaseContext:
    """A fork server, where there is one, imports torch once for all processes."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["drft.feature_cache.cache"])
    return context


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "activations"


def fill(cache: ActivationCache, group: CacheGroup, *names: str) -> list[CacheEntry]:
    return [cache.put(group, name, (values(group, name),)) for name in names]


def names_on_disk(folder: Path) -> set[str]:
    return {f"{file.path.parent.name}/{file.path.stem}" for file in stored_files(folder)}


def bytes_on_disk(folder: Path) -> int:
    return sum(file.size for file in stored_files(folder))


def file_of(folder: Path, group: CacheGroup, name: str) -> Path:
    return folder / group.key / f"{name}.safetensors"


def set_age(path: Path, seconds: float) -> None:
    """Set the time of last use of a file to that many seconds ago."""
    last_used = time.time() - seconds
    os.utime(path, (last_used, last_used))


def is_right(entry: CacheEntry, group: CacheGroup, name: str) -> bool:
    return torch.equal(entry.rows(ROWS)[0], values(group, name))


dtypes = st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8])
formats = st.sampled_from(["contiguous", "channels_last", "strided"])


@st.composite
def tensors(draw: st.DrawFn, rows: int) -> torch.Tensor:
    shape = [rows, *draw(st.lists(st.integers(0, 4), max_size=4))]
    dtype, memory_format = draw(dtypes), draw(formats)
    seed = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    tensor = torch.randint(0, 256, shape, generator=seed).to(dtype)
    if memory_format == "channels_last" and len(shape) == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor.transpose(1, -1) if memory_format == "strided" and len(shape) > 2 else tensor


@st.composite
def activations_and_rows(draw: st.DrawFn) -> tuple[tuple[torch.Tensor, ...], list[int]]:
    rows = draw(st.integers(1, 5))
    activations = tuple(draw(tensors(rows)) for _ in range(draw(st.integers(1, 3))))
    return activations, draw(st.lists(st.integers(0, rows - 1), max_size=6))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(example=activations_and_rows(), stored=st.booleans())
def test_rows_equal_those_of_the_stored_tensors(example, stored, folder):
    activations, indices = example
    expected = tuple(tensor.clone()[indices] for tensor in activations)
    cache = ActivationCache(folder, LARGE if stored else 0)
    assert cache.put(GROUP, "view", activations).stored == stored
    entry = ActivationCache(folder, LARGE).get(GROUP, "view") if stored else cache.get(GROUP, "view")
    assert entry is not None
    for rows, wanted, original in zip(entry.rows(np.array(indices, np.int64)), expected, activations, strict=True):
        assert rows.dtype == wanted.dtype
        assert torch.equal(rows, wanted)
        if rows.numel() and original.ndim == 4 and original.is_contiguous(memory_format=torch.channels_last):
            assert rows.is_contiguous(memory_format=torch.channels_last)
    file_of(folder, GROUP, "view").unlink(missing_ok=True)


@pytest.mark.parametrize("budget", [LARGE, 0])
def test_rows_are_copies(folder, budget):
    cache = ActivationCache(folder, budget)
    entry = cache.put(GROUP, "view", (values(GROUP, "view"),))
    entry.rows(ROWS)[0].zero_()
    assert is_right(entry, GROUP, "view")
    again = cache.get(GROUP, "view")
    assert again is not None
    assert is_right(again, GROUP, "view")


def test_rows_are_selected_by_arrays_and_tensors_and_not_beyond_the_end(folder):
    entry = ActivationCache(folder, LARGE).put(GROUP, "view", (values(GROUP, "view"),))
    indices = [3, 0, 3]
    assert torch.equal(entry.rows(torch.tensor(indices))[0], values(GROUP, "view")[indices])
    assert torch.equal(entry.rows(np.array(indices))[0], values(GROUP, "view")[indices])
    with pytest.raises(IndexError):
        entry.rows(torch.tensor([8]))


def test_files_are_plain_safetensors(folder):
    fill(ActivationCache(folder, LARGE), GROUP, "view")
    (tensor,) = safetensors.torch.load_file(file_of(folder, GROUP, "view")).values()
    assert torch.equal(tensor.permute(0, 3, 1, 2), values(GROUP, "view"))


def test_an_entry_that_was_not_stored_is_none(folder):
    assert ActivationCache(folder, LARGE).get(GROUP, "view") is None
    assert not folder.exists()


@pytest.mark.parametrize("name", ["", "../escape", ".hidden", "a/b", "x" * 300])
def test_names_that_cannot_name_a_file_are_refused(folder, name):
    with pytest.raises(ValueError, match="cannot name a file"):
        ActivationCache(folder, LARGE).get(GROUP, name)


def test_types_that_cannot_be_stored_are_refused(folder):
    with pytest.raises(TypeError, match="int64"):
        ActivationCache(folder, LARGE).put(GROUP, "view", (torch.arange(3),))


# --- damage


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_anywhere_is_found(data, folder):
    group = CacheGroup("small", {}, 1.0)
    ActivationCache(folder, LARGE).put(group, "view", (torch.arange(6.0).reshape(3, 2),))
    path = file_of(folder, group, "view")
    written = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(written) - 1))
    written[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(written)
    assert ActivationCache(folder, LARGE).get(group, "view") is None
    assert not path.exists()


def other_version(path: Path) -> None:
    """Write an undamaged file of a later schema."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("drft.feature_cache.cache_file.SCHEMA", "99")
        ActivationCache(path.parent.parent, LARGE).put(GROUP, "view", (values(GROUP, "view"),))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: os.truncate(path, path.stat().st_size - 100),
    "cut off in the header": lambda path: os.truncate(path, 20),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:4096] + bytes(path.stat().st_size - 4096)),
    "garbage": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "other safetensors": lambda path: safetensors.torch.save_file({"0": torch.zeros(3)}, path),
    "other version": other_version,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_deleted_and_computed_again(folder, damage, caplog):
    fill(ActivationCache(folder, LARGE), GROUP, "view")
    path = file_of(folder, GROUP, "view")
    DAMAGES[damage](path)
    cache = ActivationCache(folder, LARGE)
    assert cache.get(GROUP, "view") is None
    assert not path.exists()
    assert cache.get(GROUP, "view") is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text
    assert fill(cache, GROUP, "view")[0].stored


def test_an_entry_is_verified_once_in_a_process(folder, monkeypatch):
    fill(ActivationCache(folder, LARGE), GROUP, "view")
    verified: list[bool] = []
    open_entry = cache_module.open_entry
    monkeypatch.setattr(
        cache_module, "open_entry", lambda path, verify: verified.append(verify) or open_entry(path, verify=verify)
    )
    cache = ActivationCache(folder, LARGE, memory=0)  # nothing stays open
    for _ in range(3):
        assert cache.get(GROUP, "view")
    assert verified == [True, False, False]


def test_damaged_group_info_is_written_again(folder):
    cache = ActivationCache(folder, LARGE)
    fill(cache, GROUP, "view")
    (folder / GROUP.key / "about.json").write_text("{")
    fill(cache, GROUP, "other")
    assert {file.seconds_per_byte for file in stored_files(folder)} == {GROUP.seconds_per_byte}


# --- a disk that cannot be written


def raising(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("function", ["write_entry", "whole_file", "get_or_write_group"])
def test_an_entry_that_cannot_be_written_stays_in_memory(folder, code, function, monkeypatch, caplog):
    cache = ActivationCache(folder, LARGE)
    monkeypatch.setattr(cache_module, function, raising(code))
    for name, entry in zip(NAMES, fill(cache, GROUP, *NAMES), strict=True):
        assert not entry.stored
        assert is_right(entry, GROUP, name)
    assert names_on_disk(folder) == set()
    assert cache.get(GROUP, NAMES[0]) is not None
    assert len(caplog.records) == 1
    assert os.strerror(code) in caplog.text


def test_nothing_is_stored_when_the_disk_fails_halfway(folder):
    resource = pytest.importorskip("resource")
    cache = ActivationCache(folder, LARGE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE // 2, before[1]))
    try:
        (entry,) = fill(cache, GROUP, "view")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not entry.stored
    assert is_right(entry, GROUP, "view")
    assert names_on_disk(folder) == set()
    assert fill(cache, GROUP, "view")[0].stored


def test_a_file_in_place_of_the_folder_raises_no_error(folder):
    folder.write_text("not a folder")
    cache = ActivationCache(folder, LARGE)
    assert cache.get(GROUP, "view") is None
    with cache.lock(GROUP, "view"):
        (entry,) = fill(cache, GROUP, "view")
    assert not entry.stored
    assert is_right(entry, GROUP, "view")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_can_be_read(folder):
    fill(ActivationCache(folder, LARGE), GROUP, "view")
    for path in (folder / GROUP.key, folder / ".locks", folder):
        path.chmod(0o555)
    try:
        cache = ActivationCache(folder, LARGE)
        with cache.lock(GROUP, "other"):
            assert not fill(cache, GROUP, "other")[0].stored
        entry = cache.get(GROUP, "view")
        assert entry is not None
        assert is_right(entry, GROUP, "view")
    finally:
        for path in (folder, folder / ".locks", folder / GROUP.key):
            path.chmod(0o755)


def test_a_folder_deleted_meanwhile_raises_no_error(folder, tmp_path):
    cache = ActivationCache(folder, LARGE)
    (entry,) = fill(cache, GROUP, "view")
    with cache.lock(GROUP, "view"):
        folder.rename(tmp_path / "gone")
    assert is_right(entry, GROUP, "view")
    assert fill(cache, GROUP, "other")[0].stored
    with cache.lock(GROUP, "view"):
        again = ActivationCache(folder, LARGE)
    assert again.get(GROUP, "view") is None
    assert again.get(GROUP, "other") is not None


# --- memory


def test_the_memory_limit_holds(folder):
    size = values(GROUP, "any").nbytes
    cache = ActivationCache(folder, 0, memory=4 * 3 * size)
    fill(cache, GROUP, *NAMES)
    assert [cache.get(GROUP, name) is not None for name in NAMES] == [False] * 9 + [True] * 3


def test_the_most_recently_used_entries_stay_open(folder):
    size = values(GROUP, "any").nbytes
    cache = ActivationCache(folder, LARGE, memory=2 * size)
    first, *_ = fill(cache, GROUP, "a", "b")
    assert cache.get(GROUP, "a") is first
    fill(cache, GROUP, "c")
    for path in folder.glob("*/*.safetensors"):
        path.unlink()
    assert [cache.get(GROUP, name) is not None for name in "abc"] == [True, False, True]


# --- budget


@given(budget=st.integers(0, 6 * FILE_SIZE), order=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(NAMES))))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_budget_holds_at_every_moment(budget, order, tmp_path_factory):
    folder = tmp_path_factory.mktemp("budget") / "activations"
    cache = ActivationCache(folder, budget)
    for number, name in order:
        group = groups(3)[number]
        assert is_right(fill(cache, group, name)[0], group, name)
        assert bytes_on_disk(folder) <= budget


def test_among_equals_the_least_recently_used_is_evicted(folder):
    cache = ActivationCache(folder, 3 * FILE_SIZE)
    fill(cache, GROUP, "a", "b", "c")
    for name, seconds in (("a", 200.0), ("b", 300.0), ("c", 100.0)):
        set_age(file_of(folder, GROUP, name), seconds)
    assert fill(cache, GROUP, "d")[0].stored
    assert names_on_disk(folder) == {"ab12/a", "ab12/c", "ab12/d"}


def test_the_entry_that_saves_least_is_evicted_though_used_last(folder):
    low, middle, high = groups(3)
    cache = ActivationCache(folder, 2 * FILE_SIZE)
    fill(cache, low, "a")
    fill(cache, middle, "b")
    set_age(file_of(folder, middle, "b"), 1000.0)
    assert fill(cache, high, "c")[0].stored
    assert names_on_disk(folder) == {"0001/b", "0002/c"}


def test_entries_unused_for_a_day_are_evicted_first(folder):
    low, _, high = groups(3)
    cache = ActivationCache(folder, 2 * FILE_SIZE)
    fill(cache, high, "old")
    fill(cache, low, "new")
    set_age(file_of(folder, high, "old"), 2 * DAY)
    assert fill(cache, low, "next")[0].stored
    assert names_on_disk(folder) == {"0000/new", "0000/next"}


def test_an_entry_that_saves_less_than_all_others_stays_in_memory(folder, caplog):
    low, _, high = groups(3)
    cache = ActivationCache(folder, 2 * FILE_SIZE)
    fill(cache, high, "a", "b")
    (entry,) = fill(cache, low, "c")
    assert not entry.stored
    assert is_right(entry, low, "c")
    assert names_on_disk(folder) == {"0002/a", "0002/b"}
    assert not caplog.records


def test_a_smaller_budget_is_enforced_even_if_the_new_entry_is_not_admitted(folder):
    low, _, high = groups(3)
    fill(ActivationCache(folder, LARGE), high, *NAMES)
    assert not fill(ActivationCache(folder, 3 * FILE_SIZE), low, "c")[0].stored
    assert len(names_on_disk(folder)) == 3


def test_reading_an_entry_updates_its_time_of_last_use(folder):
    fill(ActivationCache(folder, LARGE), GROUP, "view")
    path = file_of(folder, GROUP, "view")
    set_age(path, 5 * DAY)
    assert ActivationCache(folder, LARGE).get(GROUP, "view") is not None
    assert time.time() - path.stat().st_mtime < DAY


def test_a_full_disk_counts_as_a_used_up_budget(folder, monkeypatch):
    low, _, high = groups(3)
    cache = ActivationCache(folder, LARGE)
    fill(cache, low, "a")
    fill(cache, high, "b")
    disk = 1000 * FILE_SIZE
    monkeypatch.setattr("drft.feature_cache.eviction.disk_space", lambda _: (disk, disk // 50))
    assert not fill(cache, low, "c")[0].stored or names_on_disk(folder) == {"0002/b", "0000/c"}
    assert fill(cache, high, "d")[0].stored
    assert "0000/a" not in names_on_disk(folder)


# --- several processes


@pytest.mark.parametrize("budget", [LARGE, 5 * FILE_SIZE])
def test_processes_that_fill_and_evict_at_once_all_get_the_right_values(folder, processes, budget):
    start, outcomes = processes.Barrier(3), processes.SimpleQueue()
    workers = [processes.Process(target=cache_users.use_all, args=(folder, budget, start, outcomes)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    computed, right = zip(*(outcomes.get() for _ in workers), strict=True)
    assert all(right)
    assert bytes_on_disk(folder) <= budget
    assert len(list((folder / ".locks").iterdir())) <= 66
    if budget == LARGE:
        assert sum(computed) == 2 * len(NAMES)


def kill_when_ready(processes: BaseContext, target: Callable[..., None], folder: Path) -> None:
    """Run a function in another process and kill it when it sets its event."""
    ready = processes.Event()
    process = processes.Process(target=target, args=(folder, GROUP, "view", ready))
    process.start()
    assert ready.wait(60)
    process.kill()
    process.join()


def test_a_lock_is_free_after_its_holder_was_killed(folder, processes):
    kill_when_ready(processes, cache_users.hold_lock, folder)
    cache = ActivationCache(folder, LARGE)
    with cache.lock(GROUP, "view"), cache.lock(GROUP, "view"):
        assert fill(cache, GROUP, "view")[0].stored


def test_the_draft_of_a_killed_writer_is_no_entry_and_is_deleted(folder, processes, caplog):
    kill_when_ready(processes, cache_users.stop_while_writing, folder)
    (draft,) = (file.path for file in stored_files(folder))
    cache = ActivationCache(folder, 2 * FILE_SIZE)
    assert cache.get(GROUP, "view") is None
    assert fill(cache, GROUP, "view")[0].stored
    set_age(draft, DAY)
    assert fill(cache, GROUP, "other")[0].stored
    assert names_on_disk(folder) == {"ab12/view", "ab12/other"}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
