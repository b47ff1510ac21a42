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

from study.callbacks.callback import Callback
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
        from study.executors.ray.cluster import join_cluster
        from study.executors.ray.executor import RayExecutor

        with join_cluster(address, None, None, 2) as cluster, RayExecutor(workload, cluster, jobs=2) as executor:
            yield executor


def drive(executor, url, folder, trials, troubles=None, pruner=None, retries=0, callback=None, values=(), **stopping):
    """Run a study to its end; afterwards the executor has no job and can be used for the next study."""
    written = StudyFolder(Path(folder))
    written.write_study("", {})
    scheduler = open_scheduler(url, DepthSpace(troubles, **dict(values)), pruner, retries)
    tuner = Tuner(scheduler, executor, written, [callback or Callback()], StoppingCriterion(trials, **stopping))
    try:
        return tuner.run()
    finally:
        end_jobs(executor, list(tuner._jobs))
        close_storage(scheduler._storage._storage)


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


class PrintEvents(Callback):
    """Prints what happens, one line each."""

    def on_epoch(self, job, record):
        print("epoch", job.number, record.step, flush=True)

    def on_trial_end(self, job, outcome, progress):
        print("ended", job.number, flush=True)

    def on_message(self, line):
        print("message", line, flush=True)


class TunerProcess:
    """A tuner in a process of its own, and its pipes."""

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
            outcome: RunOutcome = drive(executor, troubles=troubles, callback=PrintEvents(), **given)
            print("outcome", json.dumps([outcome.ended, outcome.requeued]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
