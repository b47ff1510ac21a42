"""A study whose workers, tuner, nodes and database are killed at random; at the end the study must be consistent.

::

    python -m benchmarks.chaos --quick
    python -m benchmarks.chaos --trials 200 --kills 50
    python -m benchmarks.chaos --executor ray --storage postgresql

The study is real and tiny. After every few finished trials, at a random moment, a random process gets SIGKILL: a
worker, the tuner, a node of the Ray cluster, the database server. A killed tuner is started again with the same
command; nodes and servers start again by themselves. The run fails when a trial was lost or exists twice, when files
and records differ, or when an undisturbed training of a trial has another result.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import torch
from rich.console import Console

from benchmarks.arguments import command_parser
from benchmarks.chaos_targets import ChaosTargets, open_targets
from benchmarks.machine import describe_run
from benchmarks.pages import publish
from benchmarks.study_audit import audit
from benchmarks.tiny_study import STUDY, TinyStudy
from drft.data import open_dataset
from drft.errors import DrftError
from study.storage.open import open_storage, study_url

_ROOT = Path(__file__).parent.parent
_REPLAYS = 10
_FINISHED = re.compile(r"(\d+)/\d+ finished")


@dataclass
class ChaosRun:
    """Runs a study to its end and kills processes on the way."""

    study: TinyStudy
    targets: ChaosTargets
    kills: int
    rng: random.Random
    console: Console
    killed: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    _next: int = 1
    """Finished trials at the next kill."""

    def run(self) -> None:
        """Start the tuner again and again until it ends by itself.

        Raises:
            DrftError: when it ends with an error.
        """
        while True:
            process = self._start()
            finished = self._kill_until_end(process)
            code = process.wait()
            if code == 0:
                return
            if code != -signal.SIGKILL:
                output = "\n".join(self._log.read_text().splitlines()[-20:])  # the folder is deleted at the end
                raise DrftError(f"the tuner ended with exit code {code} after {finished} trials:\n{output}")

    @property
    def _log(self) -> Path:
        return self.study.folder / "driver.log"

    def _start(self) -> "subprocess.Popen[str]":
        self.starts += 1
        environment = {**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        # No failure limit: by chance, most of the trials of one tuner process can fail here.
        command = self.study.command([*self.targets.options, "--max-retries", "9", "--failure-limit", "1"])
        with self._log.open("a") as log:
            return subprocess.Popen(
                command, cwd=self.study.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=log
            )

    def _kill_until_end(self, process: "subprocess.Popen[str]") -> int:
        """Read the tuner's output until it ends and kill processes on the way; return how many trials finished."""
        finished = 0
        assert process.stdout is not None
        for line in process.stdout:
            if not (progress := _FINISHED.search(line)):
                continue
            finished = int(progress[1])
            if finished >= self._next and sum(self.killed.values()) < self.kills:
                self._kill(process)
                self._next = finished + self.rng.randint(1, max(1, 2 * self.study.trials // self.kills - 2))
        return finished

    def _kill(self, process: "subprocess.Popen[str]") -> None:
        time.sleep(self.rng.uniform(0, 0.4))  # any moment of a trial, and of the writes at its end
        if process.poll() is not None:
            return  # it has ended, and its last output is being read
        target = self.rng.choice(["driver", *self.targets.kill])
        if target == "driver":
            process.kill()
        elif not self.targets.kill[target]():
            return
        self.killed[target] += 1
        self.console.print(f"kill {sum(self.killed.values())} of {self.kills}: {target}")


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run a study, kill processes, and audit it; return the result as it is written to JSON."""
    rng = random.Random(args.seed)  # noqa: S311
    with TemporaryDirectory() as folder, open_targets(args.executor, args.storage, rng) as targets:
        study = TinyStudy(Path(folder), args.trials, targets.storage)
        study.write_files()
        chaos = ChaosRun(study, targets, args.kills, rng, console)
        started = time.perf_counter()
        chaos.run()
        seconds = time.perf_counter() - started
        url = study.storage or study_url(study.results, STUDY)
        trials = optuna.load_study(study_name=STUDY, storage=open_storage(url, create=False)).trials
        torch.set_num_threads(1)  # as in the workers: another number of threads rounds differently
        found = audit(trials, study.results / STUDY, args.trials, open_dataset(str(study.table)), _REPLAYS)
    return {
        **describe_run("chaos", f"{args.executor}-{args.storage}"),
        "trials": args.trials,
        "seconds": seconds,
        "starts": chaos.starts,
        "killed": dict(chaos.killed),
        "books": found.model_dump(),
    }


def rows(result: dict[str, Any]) -> list[list[str]]:
    """Return the table's rows."""
    found = result["books"]
    return [
        ["trials that finished, as wanted", str(result["trials"])],
        *(["killed: " + name, str(count)] for name, count in result["killed"].items()),
        ["starts of the tuner", str(result["starts"])],
        *(["trials " + state.lower(), str(count)] for state, count in found["states"].items()),
        ["trials that repeat another one", str(found["retries"])],
        ["half-written folders left", str(found["half_written"])],
        ["trained again and compared", str(found["replayed"])],
        ["faults", str(len(found["faults"]))],
        ["wall time", f"{result['seconds']:.0f} s"],
    ]


def main() -> None:
    """Run, audit, print, write."""
    parser = command_parser("chaos", __doc__)
    parser.add_argument("--executor", choices=("local", "ray"), default="local")
    parser.add_argument("--storage", choices=("sqlite", "postgresql", "journal"), default="sqlite")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of processes and moments")
    parser.add_argument("--quick", action="store_true", help="20 trials, 5 kills")
    args = parser.parse_args()
    if args.quick:
        args.trials, args.kills = 20, 5
    console = Console()
    result = measure(args, console)
    faults = result["books"]["faults"]
    notes = faults or ["The study is consistent: every trial once, its files equal to its record, none left running."]
    publish("Chaos", args.out / f"chaos-{result['label']}", result, [(("", ""), rows(result))], notes, console)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
