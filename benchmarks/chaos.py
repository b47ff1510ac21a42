"""A study under fire: workers, drivers, nodes and databases are killed at random; at the end the books must balance.

::

    python -m benchmarks.chaos --quick
    python -m benchmarks.chaos --trials 200 --kills 50
    python -m benchmarks.chaos --executor ray --storage postgresql

The study is real and tiny. After every few finished trials, at a random moment, a random part of what runs gets
SIGKILL: a worker, the driver, a node of the Ray cluster, the database server. A driver that is gone is started again
with the same command, nodes and servers come back by themselves. It ends with the study, and fails when a trial was
lost or doubled, files and records differ, or an undisturbed training of a trial has another result.
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
from dataclasses import dataclass
from dataclasses import field as default
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import torch
from rich.console import Console

from benchmarks.chaos_targets import ChaosTarget, field_of
from benchmarks.machine import describe_machine, public_command
from benchmarks.pages import markdown_page, show_table, write_result
from benchmarks.study_audit import StudyAudit, audit
from benchmarks.tiny_study import STUDY, TinyStudy
from drft.data import open_dataset
from drft.errors import DrftError
from study.storage.open import open_storage, study_url

_ROOT = Path(__file__).parent.parent
_REPLAYS = 10
_FINISHED = re.compile(r"(\d+)/\d+ finished")


@dataclass
class Chaos:
    """Drives a study to its goal and disturbs it on the way."""

    study: TinyStudy
    field: ChaosTarget
    kills: int
    random: random.Random
    console: Console
    killed: Counter[str] = default(default_factory=Counter)
    starts: int = 0
    _next: int = 1

    def run(self) -> None:
        """Start the driver until it ends by itself.

        Raises:
            DrftError: when it ends with an error.
        """
        while True:
            process = self._start()
            finished = self._disturb(process)
            code = process.wait()
            if code == 0:
                return
            if code != -signal.SIGKILL:
                said = "\n".join(self._log.read_text().splitlines()[-20:])  # the folder goes with this process
                raise DrftError(f"the driver ended with exit code {code} after {finished} trials:\n{said}")

    @property
    def _log(self) -> Path:
        return self.study.folder / "driver.log"

    def _start(self) -> "subprocess.Popen[str]":
        self.starts += 1
        environment = {**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        # No limit of failures: here most trials can fail, by chance, of those a driver has seen.
        limits = ["--max-retries", "9", "--failure-limit", "1"]
        command, place = self.study.command([*self.field.options, *limits]), self.study.folder
        with self._log.open("a") as log:
            return subprocess.Popen(
                command, cwd=place, env=environment, text=True, stdout=subprocess.PIPE, stderr=log
            )  # fmt: skip

    def _disturb(self, process: "subprocess.Popen[str]") -> int:
        """Read what the driver says until it ends; kill something whenever it is time."""
        finished = 0
        assert process.stdout is not None
        for line in process.stdout:
            if not (found := _FINISHED.search(line)):
                continue
            finished = int(found[1])
            if finished >= self._next and sum(self.killed.values()) < self.kills:
                self._strike(process)
                self._next = finished + self.random.randint(1, max(1, 2 * self.study.trials // self.kills - 2))
        return finished

    def _strike(self, process: "subprocess.Popen[str]") -> None:
        time.sleep(self.random.uniform(0, 0.4))  # to hit any moment of a trial, and of what is written at its end
        if process.poll() is not None:
            return  # what is read are its last words
        victim = self.random.choice(["driver", *self.field.disasters])
        if victim == "driver":
            process.kill()
        elif not self.field.disasters[victim]():
            return
        self.killed[victim] += 1
        self.console.print(f"kill {sum(self.killed.values())} of {self.kills}: {victim}")


def _audit(study: TinyStudy) -> StudyAudit:
    torch.set_num_threads(1)  # as the workers have it: other numbers of threads round differently
    url = study.storage or study_url(study.results, STUDY)
    trials = optuna.load_study(study_name=STUDY, storage=open_storage(url, create=False)).trials
    return audit(trials, study.results / STUDY, study.trials, open_dataset(str(study.table)), _REPLAYS)


def measure(wanted: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run a study under fire and audit it; return what came out, as it is written to JSON."""
    chance = random.Random(wanted.seed)  # noqa: S311
    with TemporaryDirectory() as place, field_of(wanted.executor, wanted.storage, chance) as field:
        study = TinyStudy(Path(place), wanted.trials, field.storage)
        study.lay_out()
        chaos = Chaos(study, field, wanted.kills, chance, console)
        started = time.perf_counter()
        chaos.run()
        seconds = time.perf_counter() - started
        books = _audit(study)
    return {
        "command": public_command("benchmarks.chaos", sys.argv[1:]),
        "machine": describe_machine(),
        "label": f"{wanted.executor}-{wanted.storage}",
        "trials": wanted.trials,
        "seconds": seconds,
        "starts": chaos.starts,
        "killed": dict(chaos.killed),
        "books": books.model_dump(),
    }


def rows(result: dict[str, Any]) -> list[list[str]]:
    """Return the table's rows."""
    books, killed = result["books"], result["killed"]
    return [
        ["trials that finished, as wanted", str(result["trials"])],
        *(["killed: " + name, str(count)] for name, count in killed.items()),
        ["starts of the driver", str(result["starts"])],
        *(["trials " + state.lower(), str(count)] for state, count in books["states"].items()),
        ["trials that repeat another one", str(books["retries"])],
        ["half-written folders left", str(books["half_written"])],
        ["trained again and compared", str(books["replayed"])],
        ["faults in the books", str(len(books["faults"]))],
        ["wall time", f"{result['seconds']:.0f} s"],
    ]


def main() -> None:
    """Disturb, audit, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--executor", choices=("local", "ray"), default="local")
    parser.add_argument("--storage", choices=("sqlite", "postgresql", "journal"), default="sqlite")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of victims and moments")
    parser.add_argument("--quick", action="store_true", help="20 trials, 5 kills")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    wanted = parser.parse_args()
    if wanted.quick:
        wanted.trials, wanted.kills = 20, 5
    console = Console()
    result = measure(wanted, console)
    table = (("", ""), rows(result))
    show_table(f"Chaos: {result['label']}", table, console)
    faults = result["books"]["faults"]
    notes = faults or ["The books balance: every trial once, its files equal to its record, none left running."]
    page = markdown_page("Chaos", result, [table], notes)
    write_result(wanted.out / f"chaos-{result['label']}", result, page, notes, console)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
