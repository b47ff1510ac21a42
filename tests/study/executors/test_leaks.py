"""A long study leaves nothing behind: no open files, processes or shared memory that grow with its trials."""

import os
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from benchmarks.process_memory import process_tree
from study.executors import Finished, Job, LocalExecutor, Reported, Workload, cpu_slots
from study.executors.ray.executor import RayExecutor
from tests.helpers.fake_training import scripted
from tests.helpers.ray_cluster import own_cluster

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts what Linux tells")

WAIT = 60.0
SHARED = Path("/dev/shm")  # noqa: S108
RAYS_PLAY = 20
"""Open files by which Ray's own processes vary whatever they do; a leak in each of 450 trials would be hundreds."""
WORKLOAD = Workload("none", trainer="tests.helpers.fake_training:fake_trainer")


def descendants():
    return {pid for pid in process_tree(os.getpid()) if pid != os.getpid()}


def held(others=frozenset()):
    """Return how many files and how much shared memory this process and each that descends from it hold."""
    pids = {os.getpid(), *descendants()} - others
    return {pid: (len(list(Path(f"/proc/{pid}/fd").iterdir())), len(shared_memory(pid))) for pid in pids}


def grown(before, now, play=0):
    """Return what holds more than before by more than ``play``, and all that is new if there are more processes now."""
    known = now.keys() & before.keys()
    by = {pid: max(new - old for old, new in zip(before[pid], now[pid], strict=True)) for pid in known}
    more = {pid: (before[pid], now[pid]) for pid in known if by[pid] > play}
    return more if len(now) <= len(before) else more | {pid: now[pid] for pid in now.keys() - known}


def shared_memory(pid):
    """Return the names below ``/dev/shm`` that a process has mapped, deleted ones too."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:  # it has ended, or is another user's
        return set()
    return {Path(line.split(f"{SHARED}/")[1]).name for line in lines if f"{SHARED}/" in line}


def nobodys_memory():
    """Return what lies in ``/dev/shm`` and no process has mapped: other programs may come and go meanwhile."""
    lying = {path.name for path in SHARED.iterdir()}
    return lying.difference(*(shared_memory(pid) for pid in Path("/proc").iterdir() if pid.name.isdigit()))


def train(executor, numbers):
    waiting, ended = [Job(number, scripted()) for number in numbers], 0
    for _ in range(executor.slots):
        executor.submit(waiting.pop())
    while ended < len(numbers):
        for event in executor.wait(WAIT):
            if isinstance(event, Reported):
                executor.answer(event.number, keep_on=True)
            elif isinstance(event, Finished):
                ended += 1
                if waiting:
                    executor.submit(waiting.pop())


def test_500_trials_hold_no_more_than_50():
    lying = nobodys_memory()
    with LocalExecutor(WORKLOAD, cpu_slots(2)) as executor:
        train(executor, range(50))
        before = held()
        train(executor, range(450))
        assert grown(before, held()) == {}
    assert nobodys_memory() <= lying


def test_500_trials_on_ray_hold_no_more_than_50_and_nothing_is_left_of_the_cluster():
    others, lying = frozenset(descendants()), nobodys_memory()
    with own_cluster() as cluster, RayExecutor(WORKLOAD, cluster, jobs=2) as executor:
        train(executor, range(50))
        before = held(others)
        train(executor, range(450))
        assert grown(before, held(others), RAYS_PLAY) == {}
        scratch, ours = Path(cluster.scratch), descendants() - others
        assert (scratch / "session_latest").exists()
    assert outlive(ours) == set()
    assert descendants() <= others
    assert nobodys_memory() <= lying
    assert not scratch.exists()


def outlive(pids):
    """Return the processes that do not end in time; some are told to only by the end of another one."""
    left = set(pids)
    for pid in pids:
        try:
            ending = os.pidfd_open(pid)
        except ProcessLookupError:
            left.remove(pid)
            continue
        left -= {pid} if wait([ending], WAIT) else set()
        os.close(ending)
    return left
