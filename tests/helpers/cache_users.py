"""Functions that other processes run in the tests of the cache; spawned processes import this module."""

import os
import signal
import zlib
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import torch

from drft.feature_cache import cache as cache_module
from drft.feature_cache.cache import ActivationCache
from drft.feature_cache.cache_file import CacheEntry, entry_file_size
from drft.feature_cache.index import CacheGroup

NAMES = [f"view-{number}" for number in range(12)]
ROWS = torch.arange(8)


def values(group: CacheGroup, name: str) -> torch.Tensor:
    """Return the activations of an entry, 8 rows of 4 kB; they depend only on its group and name."""
    seed = zlib.crc32(f"{group.key} {name}".encode())
    return torch.randn(8, 16, 8, 8, generator=torch.Generator().manual_seed(seed)).to(memory_format=torch.channels_last)


def groups(count: int) -> list[CacheGroup]:
    """Return cache groups, each of which saves more time per byte than the one before."""
    return [CacheGroup(f"{number:04x}", {"depth": number}, 1e-6 * (1 + number)) for number in range(count)]


def use_all(folder: Path, budget: int, start: Barrier, outcomes: "SimpleQueue[tuple[int, bool]]") -> None:
    """Use all entries of two groups twice; put the number of computed ones and whether all values were right."""
    cache = ActivationCache(folder, budget, memory=0)
    computed, right = 0, True
    start.wait()
    for group in 2 * groups(2):
        for name in NAMES:
            entry = cache.get(group, name)
            if entry is None:
                with cache.lock(group, name):
                    entry = cache.get(group, name)
                    if entry is None:
                        computed += 1
                        entry = cache.put(group, name, (values(group, name),))
            right = right and torch.equal(entry.rows(ROWS)[0], values(group, name))
    outcomes.put((computed, right))


def hold_lock(folder: Path, group: CacheGroup, name: str, is_held: Event) -> None:
    """Take a lock and never release it."""
    with ActivationCache(folder, 10**9).lock(group, name):
        is_held.set()
        signal.pause()


def stop_while_writing(folder: Path, group: CacheGroup, name: str, halfway: Event) -> None:
    """Write the first half of an entry, then wait for ever."""

    def write_half(path: Path, entry: CacheEntry) -> None:
        with path.open("r+b") as file:
            file.write(os.urandom(entry_file_size(entry) // 2))
        halfway.set()
        signal.pause()

    cache_module.write_entry = write_half
    ActivationCache(folder, 10**9).put(group, name, (values(group, name),))
