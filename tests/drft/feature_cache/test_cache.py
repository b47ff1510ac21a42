"""The cache of activations: right values whatever happens to the disk, and no more bytes than it may have."""

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

from drft.feature_cache import cache as activations
from drft.feature_cache.cache import ActivationCache, CacheGroup
from drft.feature_cache.cache_file import CacheEntry, entry_file_size
from drft.feature_cache.index import stored_files
from tests.helpers import cache_users
from tests.helpers.cache_users import NAMES, ROWS, groups, values

MUCH = 10**9
SHELF = CacheGroup("ab12", {"backbone": "resnet18", "depth": 2}, 1e-6)
FILE_SIZE = entry_file_size(CacheEntry.in_memory((values(SHELF, "any"),)))
DAY = 24 * 3600.0


@pytest.fixture(scope="session")
def processes() -> BaseContext:
    """Where there is a fork server, it imports torch once for all processes."""
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


def age(path: Path, seconds: float) -> None:
    """Let a file have been used that long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


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
def crossings(draw: st.DrawFn) -> tuple[tuple[torch.Tensor, ...], list[int]]:
    rows = draw(st.integers(1, 5))
    made = tuple(draw(tensors(rows)) for _ in range(draw(st.integers(1, 3))))
    return made, draw(st.lists(st.integers(0, rows - 1), max_size=6))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=crossings(), stored=st.booleans())
def test_rows_come_back_as_they_were_put_in(made, stored, folder):
    put_in, indices = made
    expected = tuple(tensor.clone()[indices] for tensor in put_in)
    cache = ActivationCache(folder, MUCH if stored else 0)
    assert cache.put(SHELF, "view", put_in).stored == stored
    entry = ActivationCache(folder, MUCH).get(SHELF, "view") if stored else cache.get(SHELF, "view")
    assert entry is not None
    for got, want, original in zip(entry.rows(np.array(indices, np.int64)), expected, put_in, strict=True):
        assert got.dtype == want.dtype
        assert torch.equal(got, want)
        if got.numel() and original.ndim == 4 and original.is_contiguous(memory_format=torch.channels_last):
            assert got.is_contiguous(memory_format=torch.channels_last)
    file_of(folder, SHELF, "view").unlink(missing_ok=True)


@pytest.mark.parametrize("budget", [MUCH, 0])
def test_rows_are_nobodys_but_the_callers(folder, budget):
    cache = ActivationCache(folder, budget)
    entry = cache.put(SHELF, "view", (values(SHELF, "view"),))
    entry.rows(ROWS)[0].zero_()
    assert is_right(entry, SHELF, "view")
    again = cache.get(SHELF, "view")
    assert again is not None
    assert is_right(again, SHELF, "view")


def test_rows_are_taken_by_array_and_by_tensor_but_not_beyond_the_end(folder):
    entry = ActivationCache(folder, MUCH).put(SHELF, "view", (values(SHELF, "view"),))
    indices = [3, 0, 3]
    assert torch.equal(entry.rows(torch.tensor(indices))[0], values(SHELF, "view")[indices])
    assert torch.equal(entry.rows(np.array(indices))[0], values(SHELF, "view")[indices])
    with pytest.raises(IndexError):
        entry.rows(torch.tensor([8]))


def test_files_are_plain_safetensors(folder):
    fill(ActivationCache(folder, MUCH), SHELF, "view")
    (tensor,) = safetensors.torch.load_file(file_of(folder, SHELF, "view")).values()
    assert torch.equal(tensor.permute(0, 3, 1, 2), values(SHELF, "view"))


def test_what_was_not_put_in_is_not_there(folder):
    assert ActivationCache(folder, MUCH).get(SHELF, "view") is None
    assert not folder.exists()


@pytest.mark.parametrize("name", ["", "../escape", ".hidden", "a/b", "x" * 300])
def test_names_that_cannot_name_a_file_are_refused(folder, name):
    with pytest.raises(ValueError, match="cannot name a file"):
        ActivationCache(folder, MUCH).get(SHELF, name)


def test_types_that_cannot_be_kept_are_refused(folder):
    with pytest.raises(TypeError, match="int64"):
        ActivationCache(folder, MUCH).put(SHELF, "view", (torch.arange(3),))


# --- damage


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_anywhere_is_found(data, folder):
    group = CacheGroup("small", {}, 1.0)
    ActivationCache(folder, MUCH).put(group, "view", (torch.arange(6.0).reshape(3, 2),))
    path = file_of(folder, group, "view")
    written = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(written)
    assert ActivationCache(folder, MUCH).get(group, "view") is None
    assert not path.exists()


def other_version(path: Path) -> None:
    """A sound file of a schema to come."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("drft.feature_cache.cache_file.SCHEMA", "99")
        ActivationCache(path.parent.parent, MUCH).put(SHELF, "view", (values(SHELF, "view"),))


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
    fill(ActivationCache(folder, MUCH), SHELF, "view")
    path = file_of(folder, SHELF, "view")
    DAMAGES[damage](path)
    cache = ActivationCache(folder, MUCH)
    assert cache.get(SHELF, "view") is None
    assert not path.exists()
    assert cache.get(SHELF, "view") is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text
    assert fill(cache, SHELF, "view")[0].stored


def test_an_entry_is_verified_once_in_a_process(folder, monkeypatch):
    fill(ActivationCache(folder, MUCH), SHELF, "view")
    seen: list[bool] = []
    really = activations.open_entry
    monkeypatch.setattr(
        activations, "open_entry", lambda path, verify: seen.append(verify) or really(path, verify=verify)
    )
    cache = ActivationCache(folder, MUCH, memory=0)  # nothing stays open
    for _ in range(3):
        assert cache.get(SHELF, "view")
    assert seen == [True, False, False]


def test_a_damaged_about_is_written_anew(folder):
    cache = ActivationCache(folder, MUCH)
    fill(cache, SHELF, "view")
    (folder / SHELF.key / "about.json").write_text("{")
    fill(cache, SHELF, "other")
    assert {file.seconds_per_byte for file in stored_files(folder)} == {SHELF.seconds_per_byte}


# --- a disk that does not take it


def raising(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("where", ["write_entry", "whole_file", "get_or_write_info"])
def test_what_cannot_be_written_stays_in_memory(folder, code, where, monkeypatch, caplog):
    cache = ActivationCache(folder, MUCH)
    monkeypatch.setattr(activations, where, raising(code))
    for name, entry in zip(NAMES, fill(cache, SHELF, *NAMES), strict=True):
        assert not entry.stored
        assert is_right(entry, SHELF, name)
    assert names_on_disk(folder) == set()
    assert cache.get(SHELF, NAMES[0]) is not None
    assert len(caplog.records) == 1
    assert os.strerror(code) in caplog.text


def test_a_disk_that_takes_half_of_it_keeps_nothing(folder):
    resource = pytest.importorskip("resource")
    cache = ActivationCache(folder, MUCH)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE // 2, before[1]))
    try:
        (entry,) = fill(cache, SHELF, "view")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not entry.stored
    assert is_right(entry, SHELF, "view")
    assert names_on_disk(folder) == set()
    assert fill(cache, SHELF, "view")[0].stored


def test_a_file_in_the_place_of_the_folder_breaks_nothing(folder):
    folder.write_text("not a folder")
    cache = ActivationCache(folder, MUCH)
    assert cache.get(SHELF, "view") is None
    with cache.lock(SHELF, "view"):
        (entry,) = fill(cache, SHELF, "view")
    assert not entry.stored
    assert is_right(entry, SHELF, "view")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_can_be_read(folder):
    fill(ActivationCache(folder, MUCH), SHELF, "view")
    for place in (folder / SHELF.key, folder / ".locks", folder):
        place.chmod(0o555)
    try:
        cache = ActivationCache(folder, MUCH)
        with cache.lock(SHELF, "other"):
            assert not fill(cache, SHELF, "other")[0].stored
        entry = cache.get(SHELF, "view")
        assert entry is not None
        assert is_right(entry, SHELF, "view")
    finally:
        for place in (folder, folder / ".locks", folder / SHELF.key):
            place.chmod(0o755)


def test_a_folder_deleted_meanwhile_breaks_nothing(folder, tmp_path):
    cache = ActivationCache(folder, MUCH)
    (entry,) = fill(cache, SHELF, "view")
    with cache.lock(SHELF, "view"):
        folder.rename(tmp_path / "gone")
    assert is_right(entry, SHELF, "view")
    assert fill(cache, SHELF, "other")[0].stored
    with cache.lock(SHELF, "view"):
        again = ActivationCache(folder, MUCH)
    assert again.get(SHELF, "view") is None
    assert again.get(SHELF, "other") is not None


# --- memory


def test_no_more_stays_in_memory_than_may(folder):
    size = values(SHELF, "any").nbytes
    cache = ActivationCache(folder, 0, memory=4 * 3 * size)
    fill(cache, SHELF, *NAMES)
    assert [cache.get(SHELF, name) is not None for name in NAMES] == [False] * 9 + [True] * 3


def test_the_entries_used_last_stay_open(folder):
    size = values(SHELF, "any").nbytes
    cache = ActivationCache(folder, MUCH, memory=2 * size)
    first, *_ = fill(cache, SHELF, "a", "b")
    assert cache.get(SHELF, "a") is first
    fill(cache, SHELF, "c")
    for path in folder.glob("*/*.safetensors"):
        path.unlink()
    assert [cache.get(SHELF, name) is not None for name in "abc"] == [True, False, True]


# --- budget


@given(budget=st.integers(0, 6 * FILE_SIZE), order=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(NAMES))))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_budget_holds_at_every_moment(budget, order, tmp_path_factory):
    folder = tmp_path_factory.mktemp("budget") / "activations"
    cache = ActivationCache(folder, budget)
    for which, name in order:
        group = groups(3)[which]
        assert is_right(fill(cache, group, name)[0], group, name)
        assert bytes_on_disk(folder) <= budget


def test_the_oldest_use_goes_first_among_equals(folder):
    cache = ActivationCache(folder, 3 * FILE_SIZE)
    fill(cache, SHELF, "a", "b", "c")
    for name, seconds in (("a", 200.0), ("b", 300.0), ("c", 100.0)):
        age(file_of(folder, SHELF, name), seconds)
    assert fill(cache, SHELF, "d")[0].stored
    assert names_on_disk(folder) == {"ab12/a", "ab12/c", "ab12/d"}


def test_what_is_worth_least_goes_first_though_used_last(folder):
    cheap, middle, dear = groups(3)
    cache = ActivationCache(folder, 2 * FILE_SIZE)
    fill(cache, cheap, "a")
    fill(cache, middle, "b")
    age(file_of(folder, middle, "b"), 1000.0)
    assert fill(cache, dear, "c")[0].stored
    assert names_on_disk(folder) == {"0001/b", "0002/c"}


def test_what_nobody_used_for_a_day_goes_before_all_else(folder):
    cheap, _, dear = groups(3)
    cache = ActivationCache(folder, 2 * FILE_SIZE)
    fill(cache, dear, "old")
    fill(cache, cheap, "new")
    age(file_of(folder, dear, "old"), 2 * DAY)
    assert fill(cache, cheap, "next")[0].stored
    assert names_on_disk(folder) == {"0000/new", "0000/next"}


def test_what_is_worth_less_than_all_there_is_stays_in_memory(folder, caplog):
    cheap, _, dear = groups(3)
    cache = ActivationCache(folder, 2 * FILE_SIZE)
    fill(cache, dear, "a", "b")
    (entry,) = fill(cache, cheap, "c")
    assert not entry.stored
    assert is_right(entry, cheap, "c")
    assert names_on_disk(folder) == {"0002/a", "0002/b"}
    assert not caplog.records


def test_a_smaller_budget_is_come_to_even_by_what_is_not_admitted(folder):
    cheap, _, dear = groups(3)
    fill(ActivationCache(folder, MUCH), dear, *NAMES)
    assert not fill(ActivationCache(folder, 3 * FILE_SIZE), cheap, "c")[0].stored
    assert len(names_on_disk(folder)) == 3


def test_using_an_entry_counts_as_use(folder):
    fill(ActivationCache(folder, MUCH), SHELF, "view")
    path = file_of(folder, SHELF, "view")
    age(path, 5 * DAY)
    assert ActivationCache(folder, MUCH).get(SHELF, "view") is not None
    assert time.time() - path.stat().st_mtime < DAY


def test_a_full_disk_counts_as_a_spent_budget(folder, monkeypatch):
    cheap, _, dear = groups(3)
    cache = ActivationCache(folder, MUCH)
    fill(cache, cheap, "a")
    fill(cache, dear, "b")
    disk = 1000 * FILE_SIZE
    monkeypatch.setattr("drft.feature_cache.eviction.disk_space", lambda _: (disk, disk // 50))
    assert not fill(cache, cheap, "c")[0].stored or names_on_disk(folder) == {"0002/b", "0000/c"}
    assert fill(cache, dear, "d")[0].stored
    assert "0000/a" not in names_on_disk(folder)


# --- other processes


@pytest.mark.parametrize("budget", [MUCH, 5 * FILE_SIZE])
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
    if budget == MUCH:
        assert sum(computed) == 2 * len(NAMES)


def kill_when(processes: BaseContext, target: Callable[..., None], folder: Path) -> None:
    """Run a function in another process and kill it when it says so."""
    ready = processes.Event()
    process = processes.Process(target=target, args=(folder, SHELF, "view", ready))
    process.start()
    assert ready.wait(60)
    process.kill()
    process.join()


def test_a_killed_holder_of_a_lock_holds_nobody_back(folder, processes):
    kill_when(processes, cache_users.hold_lock, folder)
    cache = ActivationCache(folder, MUCH)
    with cache.lock(SHELF, "view"), cache.lock(SHELF, "view"):
        assert fill(cache, SHELF, "view")[0].stored


def test_a_writer_killed_midway_leaves_nothing_to_be_read_and_its_draft_goes(folder, processes, caplog):
    kill_when(processes, cache_users.stop_while_writing, folder)
    (draft,) = (file.path for file in stored_files(folder))
    cache = ActivationCache(folder, 2 * FILE_SIZE)
    assert cache.get(SHELF, "view") is None
    assert fill(cache, SHELF, "view")[0].stored
    age(draft, DAY)
    assert fill(cache, SHELF, "other")[0].stored
    assert names_on_disk(folder) == {"ab12/view", "ab12/other"}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
