"""The same study on this machine's workers and on a Ray cluster of three nodes, and Ray Tune beside them.

::

    python -m benchmarks.ray --quick
    python -m benchmarks.ray
    python -m benchmarks.ray --instant-trials 1000

Trainings: both executors get the same plan, three at a time on one thread each, with a cache folder for each node;
records and stored predictions of every trial must be equal bit for bit. Instant trials: what a trial costs when its
training takes no time; the same trials with plain Ray Tune on the same cluster are the peer.
"""

import argparse
import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from benchmarks.arguments import add_flags, describe_work, laid_out, settle
from benchmarks.machine import describe_machine, public_command
from benchmarks.ours import enqueue, study_options
from benchmarks.pages import markdown_page, show_table, work_line, write_result
from benchmarks.plan import BenchmarkPlan
from benchmarks.ray_nodes import nodes_on_this_machine
from benchmarks.tune import tune_trials
from drft.data.progress import silent
from drft.errors import DrftError
from study.results.epochs import unpack
from study.run import drive
from study.setup.plan import prepare
from study.storage.open import open_storage, study_url

NODES = 3
TARGET = 0.5
"""Seconds that a trial may cost beyond its training."""

_NAMES = {"local": "drft-study, workers of this machine", "ray": "drft-study on Ray", "tune": "plain Ray Tune"}
_COLUMNS = ("", "beyond the training, median", "slowest trial", "an instant trial")


def train(plan: BenchmarkPlan, where: str, address: str | None) -> list[FrozenTrial]:
    """Run the plan as a real study on one executor; return its trials."""
    options = study_options(plan, study=where, executor=where, ray_address=address, jobs=NODES)
    prepared = prepare(options, silent)
    enqueue(prepared, plan)
    drive(prepared, options, Console(quiet=True))
    return finished(plan, where, len(plan.trials))


def train_instantly(plan: BenchmarkPlan, where: str, address: str | None, trials: int) -> list[FrozenTrial]:
    """Run a study of instant trials on one executor; return its trials."""
    name, usual = f"instant-{where}", {"space": "default", "sampler": "random"}
    options = study_options(plan, study=name, trials=trials, executor=where, ray_address=address, jobs=NODES, **usual)
    prepared = prepare(options, silent)
    workload = dataclasses.replace(prepared.workload, trainer="benchmarks.instant:instant_trainer")
    drive(dataclasses.replace(prepared, workload=workload), options, Console(quiet=True))
    return finished(plan, name, trials)


def finished(plan: BenchmarkPlan, name: str, wanted: int) -> list[FrozenTrial]:
    """Return the trials of a study.

    Raises:
        DrftError: when they are not complete, each of them.
    """
    storage = open_storage(study_url(plan.folder / "results", name), create=False)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    storage.engine.dispose()
    complete = sum(trial.state == TrialState.COMPLETE for trial in trials)
    if (complete, len(trials)) != (wanted, wanted):
        raise DrftError(f"the study {name} has {complete} complete trials of {len(trials)}, {wanted} were wanted")
    return trials


def differences(mine: Path, theirs: Path, pairs: Sequence[tuple[FrozenTrial, FrozenTrial]]) -> Iterator[str]:
    """Yield what differs between two studies of the same trials, bit for bit.

    Predictions are compared as files, so that those of the test images stay sealed.
    """
    for one, other in pairs:
        if one.user_attrs["config"] != other.user_attrs["config"]:
            yield f"trial {one.number}: configurations differ"
        if unpack(one.user_attrs) != unpack(other.user_attrs):
            yield f"trial {one.number}: records differ"
        files = (folder / "trials" / f"{one.number:04d}" / "predictions.npz" for folder in (mine, theirs))
        if len({file.read_bytes() for file in files}) != 1:
            yield f"trial {one.number}: predictions differ"


def beyond_training(trials: Sequence[FrozenTrial]) -> list[float]:
    """Return the seconds of each trial, from asking for it to its end in the storage, beyond those of its training.

    Trials that were asked for before every worker had ended one may have waited for workers to get ready: left out.

    Raises:
        DrftError: when no trial is left.
    """
    firsts: dict[str, datetime] = {}
    for trial in trials:
        worker, ended = trial.user_attrs["worker"], trial.datetime_complete
        assert ended is not None
        firsts[worker] = min(firsts.get(worker, ended), ended)
    ready = max(firsts.values())
    found = [
        trial.duration.total_seconds() - trial.user_attrs["seconds"]
        for trial in trials
        if trial.duration is not None and trial.datetime_start is not None and trial.datetime_start >= ready
    ]
    if not found:
        raise DrftError("the last worker got ready when all trials were under way: ask for more with --trials")
    return found


def slot_seconds(ended: Sequence[float], slots: int) -> float:
    """Return how long a trial keeps its slot, from the ends of all trials; the first tenth is warm-up."""
    ends = sorted(ended)[max(slots, len(ended) // 10) - 1 :]
    return slots * statistics.fmean(later - earlier for earlier, later in pairwise(ends))


def measure(plan: BenchmarkPlan, instant_trials: int, console: Console) -> dict[str, Any]:
    """Run everything; return what each place took, and what differs between the two executors."""
    os.environ.update(DRFT_CACHE=str(plan.folder / "cache"), OMP_NUM_THREADS="1")  # inherited by workers and nodes
    studies: dict[str, list[FrozenTrial]] = {}
    ended: dict[str, list[float]] = {}
    with nodes_on_this_machine(NODES, plan.folder / "caches") as cluster:
        for where, address in (("local", None), ("ray", cluster)):
            console.print(f"{where}: {len(plan.trials)} trainings, then {instant_trials} instant trials")
            studies[where] = train(plan, where, address)
            ended[where] = [_end(trial) for trial in train_instantly(plan, where, address, instant_trials)]
        console.print(f"tune: {instant_trials} instant trials")
        ended["tune"] = tune_trials(cluster, instant_trials, plan.folder / "tune")
    folders = [plan.folder / "results" / where for where in studies]
    return {
        "beyond_training_seconds": {where: beyond_training(trials) for where, trials in studies.items()},
        "instant_slot_seconds": {where: slot_seconds(ends, NODES) for where, ends in ended.items()},
        "compared": len(plan.trials),
        "differences": list(differences(*folders, list(zip(*studies.values(), strict=True)))),
    }


def _end(trial: FrozenTrial) -> float:
    assert trial.datetime_complete is not None
    return trial.datetime_complete.timestamp()


def rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of the table."""
    beyond = result["beyond_training_seconds"]
    return [
        (
            _NAMES[where],
            *((_ms(statistics.median(beyond[where])), _ms(max(beyond[where]))) if where in beyond else ("", "")),
            _ms(seconds),
        )
        for where, seconds in result["instant_slot_seconds"].items()
    ]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def faults(result: Mapping[str, Any]) -> list[str]:
    """Return what must not be: differences between the executors, and a trial on Ray that costs too much."""
    medians = {where: statistics.median(found) for where, found in result["beyond_training_seconds"].items()}
    ours = {where: result["instant_slot_seconds"][where] for where in medians}
    slow = [where for where in medians if max(medians[where], ours[where]) >= TARGET]
    return [*result["differences"], *(f"{_NAMES[where]}: a trial costs {TARGET} s or more" for where in slow)]


def _notes(result: Mapping[str, Any]) -> list[str]:
    same = "; ".join(result["differences"]) or "records and stored predictions are equal bit for bit"
    places = (
        f"{NODES} trials at once everywhere, one thread each; Ray and Ray Tune on the same {NODES} raylets of one CPU, "
        "each with a cache folder of its own. Beyond the training: from asking for a trial to its end in the storage, "
        "files included, less the seconds of its training in the worker, once every worker has ended a trial."
    )
    instant = (
        f"Instant trials ({result['instant_trials']}, random search, 10 epochs): mean time that a trial keeps its slot "
        "when training takes none, after the first tenth. Epochs are answered one by one everywhere. This program also "
        "brings back predictions and tensors and writes a trial's files; Ray Tune, with reused actors, does neither, "
        "and its log files, snapshots and tables are turned off."
    )
    same = f"The same {result['compared']} trainings on both executors: {same}."
    load = f"Load average of the machine when it began: {result['load_average']:.1f}."
    return [same, work_line(result["work"]), places, instant, load]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ray", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_flags(parser)
    parser.add_argument("--instant-trials", type=int, help="300")
    wanted = parser.parse_args()
    wanted.instant_trials = wanted.instant_trials or (60 if wanted.quick else 300)
    wanted.trials = wanted.trials or (18 if wanted.quick else 36)
    settle(wanted)
    return wanted


def main() -> None:
    """Measure, print, write."""
    wanted, console = _parse(), Console()
    started = time.perf_counter()
    with laid_out(wanted, console) as plan:
        result = {
            "label": wanted.label,
            "command": public_command("benchmarks.ray", sys.argv[1:]),
            "machine": describe_machine(),
            "work": describe_work(wanted, plan.dataset()),
            "instant_trials": wanted.instant_trials,
            "load_average": os.getloadavg()[1],
            **measure(plan, wanted.instant_trials, console),
            "seconds": time.perf_counter() - started,
        }
    table, notes = (_COLUMNS, rows(result)), [*faults(result), *_notes(result)]
    show_table(f"Ray: {wanted.label}", table, console)
    write_result(
        wanted.out / f"ray-{wanted.label}", result, markdown_page("Ray", result, [table], notes), notes, console
    )
    sys.exit(bool(faults(result)))


if __name__ == "__main__":
    main()
