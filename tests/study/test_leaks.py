"""A long study leaves nothing behind: no open files or processes that grow with its trials."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_training import scripted

from study.executors import Finished, Job, LocalExecutor, Reported, Workload, cpu_slots

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts what Linux tells")

WAIT = 60.0


def held(executor):
    """Return how much this process and its workers hold: open files and processes."""
    pids = [os.getpid(), *(worker._process.pid for worker in executor._workers)]
    files = [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids]
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return files, len(children)


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
    with LocalExecutor(Workload("none", trainer="fake_training:fake_trainer"), cpu_slots(2)) as executor:
        train(executor, range(50))
        before = held(executor)
        train(executor, range(450))
        assert held(executor) == before
