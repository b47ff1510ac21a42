"""A long study leaves nothing behind: open files, processes and shared memory do not grow with its trials.

Each check runs in a process of its own. Everything that descends from this process belongs to the check, so other tests
and programs cannot change what it counts.
"""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from benchmarks.process_memory import process_tree
from study.executors import Finished, Job, LocalExecutor, Reported, Workload, cpu_slots
from study.executors.local.process import warm_up
from tests.helpers import ROOT
from tests.helpers.fake_training import WAITS, scripted

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts what Linux reports in /proc"),
    pytest.mark.timeout(600),  # the trials take a quarter of a minute on an idle machine
]

WAIT = 60.0
SHARED = Path("/dev/shm")  # noqa: S108
RAY_FILES = 20
"""Open files by which Ray's own processes vary in any case; a leak in each of 450 trials would be far more."""
FURTHER = 450
"""Trials after the first 50."""
RAY_POOL = ("ray::IDLE", "default_worker.py")
"""Command lines of workers that Ray starts in advance, at times of its own; they run none of our code."""


def workload(gate):
    """Return a workload whose trainings wait while a file is locked, if they are to."""
    return Workload("none", source_options=(("gate", str(gate)),), trainer="tests.helpers.fake_training:fake_trainer")


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_many_trials_hold_no_more_than_50_and_nothing_is_left_of_them(kind):
    command, environment = [sys.executable, __file__, kind], {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"grown": {}, "processes": [], "shared memory": [], "folders": []}


def main(kind):
    """Run the trials and print what has grown, and what is left, as JSON."""
    if kind == "local":
        warm_up()  # the fork server of multiprocessing lasts as long as this process
    services = descendants()
    with tempfile.NamedTemporaryFile() as file, executing(kind, Path(file.name)) as (executor, folders):
        look_at_all_workers(executor, Path(file.name))
        shared = train(executor, range(50))
        before = look_at_all_workers(executor, Path(file.name))
        shared |= train(executor, range(FURTHER))
        now = look_at_all_workers(executor, Path(file.name))
        growth, processes = grown(before, now, RAY_FILES if kind == "ray" else 0), descendants() - services
        assert all((folder / "ray/session_latest").exists() for folder in folders)
    left = outliving(processes) | (descendants() - services)
    report = {
        "grown": growth,
        "processes": sorted(left),
        "shared memory": sorted(shared & {path.name for path in SHARED.iterdir()}),
        "folders": [str(folder) for folder in folders if folder.exists()],
    }
    print(json.dumps(report))


@contextmanager
def executing(kind, gate):
    """Start an executor of two slots; yields it with the temporary folders that must go with it."""
    if kind == "local":
        with LocalExecutor(workload(gate), cpu_slots(2)) as executor:
            yield executor, []
    else:
        from study.executors.ray.executor import RayExecutor
        from tests.helpers.ray_cluster import own_cluster

        with own_cluster() as cluster, RayExecutor(workload(gate), cluster, jobs=2) as executor:
            yield executor, [Path(cluster.scratch)]


def look_at_all_workers(executor, gate):
    """Run a training on each slot at the same time and look meanwhile: Tune ends a worker that has nothing to do."""
    with gate.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # trainings wait for it
        for number in range(executor.slots):
            executor.submit(Job(number, scripted(WAITS)))
        answer_until(executor, Reported)
        counts = look()
        fcntl.flock(file, fcntl.LOCK_UN)
        answer_until(executor, Finished)
    return counts


def answer_until(executor, kind):
    """Answer reports until each slot has had an event of a kind."""
    seen = set()
    while len(seen) < executor.slots:
        for event in executor.wait(WAIT):
            if isinstance(event, kind):
                seen.add(event.number)
            if isinstance(event, Reported):
                executor.answer(event.number, keep_on=True)


def train(executor, numbers):
    """Run trainings; returns the names of the shared memory that our processes had, as seen after every tenth."""
    waiting, ended, shared = [Job(number, scripted()) for number in numbers], 0, set()
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
                if ended % 10 == 0:
                    shared = shared.union(*map(shared_memory, process_tree(os.getpid())))
    return shared


def descendants():
    return {pid for pid in process_tree(os.getpid()) if pid != os.getpid()}


def look():
    """Return the numbers of open files and of shared memories of this process and its descendants."""
    counts = {}
    for pid in process_tree(os.getpid()):
        with suppress(OSError):  # it has just ended
            if not any(name in command(pid) for name in RAY_POOL):
                counts[pid] = (len(list(Path(f"/proc/{pid}/fd").iterdir())), len(shared_memory(pid)))
    return counts


def command(pid):
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def grown(before, now, allowance):
    """Return what has grown by more than the allowance, and all new processes if there are more than before."""
    more = {} if len(now) <= len(before) else {pid: ([], now[pid]) for pid in now.keys() - before.keys()}
    for pid in now.keys() & before.keys():
        if max(new - old for old, new in zip(before[pid], now[pid], strict=True)) > allowance:
            more[pid] = (before[pid], now[pid])
    report = {}
    for pid, counts in more.items():
        with suppress(OSError):  # it has ended meanwhile, so it is no leak
            report[f"{pid} {command(pid)}"] = counts
    return report


def shared_memory(pid):
    """Return the names below ``/dev/shm`` that a process has open or mapped, deleted ones too."""
    files = []
    with suppress(OSError):  # it has just ended
        files += Path(f"/proc/{pid}/maps").read_text().splitlines()
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # it has just been closed
                files.append(str(link.readlink()))
    return {file.split(f"{SHARED}/")[1].removesuffix(" (deleted)") for file in files if f"{SHARED}/" in file}


def outliving(pids):
    """Return the processes that do not end in time; some end only after another one has."""
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


if __name__ == "__main__":
    main(sys.argv[1])
