"""A driver in a process of its own, which tests interrupt and kill; it says what happens, line by line.

Each line of its input is one run. Its arguments say where trainings run: the executor, the gate, Ray's address.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from study.callbacks.progress_reporter import PlainProgress
from study.executors import Executor, Failed, Finished, LocalExecutor, Reported, Workload, cpu_slots
from study.results.study_folder import StudyFolder
from study.storage.open import close_storage
from study.tuner.stopping import RunOutcome, StoppingCriterion
from study.tuner.tuner import Tuner
from tests.helpers import ROOT
from tests.helpers.small_study import DepthSpace, open_scheduler

WAIT = 60.0


@contextmanager
def executing(kind: str, gate: str, address: str | None = None) -> Iterator[Executor]:
    """Run made-up trainings in two slots; with Ray on the cluster at an address, or the one that was joined before."""
    workload = Workload("none", source_options=(("gate", gate),), trainer="tests.helpers.fake_training:fake_trainer")
    if kind == "local":
        with LocalExecutor(workload, cpu_slots(2)) as executor:
            yield executor
    else:
        from study.executors.ray.cluster import joined
        from study.executors.ray.executor import RayExecutor

        with joined(address, None, None, 2) as cluster, RayExecutor(workload, cluster, jobs=2) as executor:
            yield executor


def drive(executor, url, folder, trials, troubles=None, pruner=None, retries=0, display=None, values=(), **goal):
    """Bring a study to its goal; the executor is left without a job, ready for the next study."""
    written = StudyFolder(Path(folder))
    written.write_study("", {})
    scheduler = open_scheduler(url, DepthSpace(troubles, **dict(values)), pruner, retries)
    display = display or PlainProgress(Console(quiet=True))
    driver = Tuner(scheduler, executor, written, display, StoppingCriterion(trials, **goal))
    try:
        return driver.run()
    finally:
        end_jobs(executor, list(driver._jobs))
        close_storage(scheduler._ledger._backend)


def end_jobs(executor: Executor, numbers: Sequence[int]) -> None:
    """End jobs for which nobody waits."""
    left = set(numbers)
    for number in numbers:
        executor.kill(number)
    while left:
        for event in executor.wait(WAIT):
            if isinstance(event, Reported):
                executor.answer(event.number, keep_on=True)
            elif isinstance(event, Finished | Failed):
                left.remove(event.number)


class Teller(PlainProgress):
    """Says on a pipe what happens."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))

    def epoch(self, job, record):
        say("epoch", job.number, record.step)

    def ended(self, job, outcome, progress):
        say("ended", job.number)

    def notice(self, line):
        say("notice", line)


def say(*words) -> None:
    print(*words, flush=True)


class LoneDriver:
    """The test's end of the pipes."""

    def __init__(self, kind: str, gate: Path, address: str | None) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, __file__, kind, str(gate), *([address] if address else [])]
        self._process = subprocess.Popen(
            command, env=environment, start_new_session=True, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, **how) -> None:
        """Begin a run, with the arguments of :func:`drive`."""
        self._process.stdin.write(json.dumps(how) + "\n")
        self._process.stdin.flush()

    def read_until(self, *wanted: str) -> str:
        """Return what is said after the last of these beginnings of lines, which may come in any order."""
        left, heard = set(wanted), []
        while left:
            line = self._process.stdout.readline()
            assert line, f"it ended without {left}: {heard}"
            heard.append(line)
            found = next((word for word in left if line.startswith(word)), "")
            left.discard(found)
        return line.removeprefix(found).strip()

    def outcome(self) -> tuple[str, int]:
        """Wait for the end of a run; return why it ended, and how many trials were queued again."""
        return tuple(json.loads(self.read_until("outcome")))

    def press_ctrl_c(self) -> None:
        """Do as a terminal does: every process of the group gets the signal."""
        os.killpg(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._process.communicate()


def main(kind: str, gate: str, address: str | None = None) -> None:
    with executing(kind, gate, address) as executor:
        for line in sys.stdin:
            given = json.loads(line)
            troubles = {int(number): trouble for number, trouble in given.pop("troubles", {}).items()}
            outcome: RunOutcome = drive(executor, troubles=troubles, display=Teller(), **given)
            say("outcome", json.dumps([outcome.ended, outcome.requeued]))


if __name__ == "__main__":
    main(*sys.argv[1:])
