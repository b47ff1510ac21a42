"""The same study on this machine's workers and on a Ray cluster of three nodes, and plain Ray Tune for comparison.

::

    python -m benchmarks.ray --quick
    python -m benchmarks.ray
    python -m benchmarks.ray --instant-trials 1000

Trainings: both executors run the same plan, three trials at a time on one thread each, with a cache folder for each
node; records and stored predictions of every trial must be equal bit for bit. Instant trials: the cost of a trial whose
training takes no time; plain Ray Tune runs the same trials on the same cluster.
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

from benchmarks.arguments import add_plan_options, command_parser, describe_work, open_plan, set_plan_defaults
from benchmarks.machine import describe_run
from benchmarks.ours import enqueue, study_options
from benchmarks.pages import publish, work_line
from benchmarks.plan import BenchmarkPlan
from benchmarks.ray_nodes import empty_cluster
from benchmarks.tune import tune_trials
from drft.data.progress import silent
from drft.errors import DrftError
from study.results.epochs import unpack
from study.run import run_plan
from study.setup.plan import prepare
from study.storage.open import close_storage, open_storage, study_url

NODES = 3
MAX_SECONDS = 0.5
"""Cost of a trial beyond its training at which the benchmark fails."""

_NAMES = {"local": "drft-study, workers of this machine", "ray": "drft-study on Ray", "tune": "plain Ray Tune"}
_COLUMNS = ("", "beyond the training, median", "slowest trial", "an instant trial")


def train(plan: BenchmarkPlan, executor: str, address: str | None) -> list[FrozenTrial]:
    """Run the plan as a real study on one executor; return its trials."""
    options = study_options(plan, study=executor, executor=executor, ray_address=address, jobs=NODES)
    prepared = prepare(options, silent)
    enqueue(prepared, plan)
    run_plan(prepared, options, Console(quiet=True))
    return read_complete_trials(plan, executor, len(plan.trials))


def train_instantly(plan: BenchmarkPlan, executor: str, address: str | None, trials: int) -> list[FrozenTrial]:
    """Run a study of instant trials on one executor; return its trials."""
    name, search = f"instant-{executor}", {"trials": trials, "space": "default", "sampler": "random"}
    options = study_options(plan, study=name, executor=executor, ray_address=address, jobs=NODES, **search)
    prepared = prepare(options, silent)
    workload = dataclasses.replace(prepared.workload, trainer="benchmarks.instant:instant_trainer")
    run_plan(dataclasses.replace(prepared, workload=workload), options, Console(quiet=True))
    return read_complete_trials(plan, name, trials)


def read_complete_trials(plan: BenchmarkPlan, name: str, wanted: int) -> list[FrozenTrial]:
    """Return the trials of a study.

    Raises:
        DrftError: when any trial is not complete, or when there are more or fewer than wanted.
    """
    storage = open_storage(study_url(plan.folder / "results", name), create=False)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    close_storage(storage)
    complete = sum(trial.state == TrialState.COMPLETE for trial in trials)
    if (complete, len(trials)) != (wanted, wanted):
        raise DrftError(f"the study {name} has {complete} complete trials of {len(trials)}, {wanted} were wanted")
    return trials


def differences(
    first: Path, second: Path, first_trials: Sequence[FrozenTrial], second_trials: Sequence[FrozenTrial]
) -> Iterator[str]:
    """Yield the differences between two studies of the same trials, bit for bit.

    Predictions are compared as files, so those of the test images are not read.

    Args:
        first: folder of a study.
        second: folder of the other study.
        first_trials: of the first study.
        second_trials: of the second study, in the same order.
    """
    for one, other in zip(first_trials, second_trials, strict=True):
        if one.user_attrs["config"] != other.user_attrs["config"]:
            yield f"trial {one.number}: configurations differ"
        if unpack(one.user_attrs) != unpack(other.user_attrs):
            yield f"trial {one.number}: records differ"
        files = (folder / "trials" / f"{one.number:04d}" / "predictions.npz" for folder in (first, second))
        if len({file.read_bytes() for file in files}) != 1:
            yield f"trial {one.number}: predictions differ"


def beyond_training(trials: Sequence[FrozenTrial]) -> list[float]:
    """Return each trial's seconds from ``ask`` to its end in the storage, less the seconds of its training.

    Trials that started before every worker had ended one are left out: they may have waited for the workers to start.

    Raises:
        DrftError: when no trial is left.
    """
    first_ends: dict[str, datetime] = {}
    for trial in trials:
        worker, ended = trial.user_attrs["worker"], trial.datetime_complete
        assert ended is not None
        first_ends[worker] = min(first_ends.get(worker, ended), ended)
    ready = max(first_ends.values())
    seconds = [
        trial.duration.total_seconds() - trial.user_attrs["seconds"]
        for trial in trials
        if trial.duration is not None and trial.datetime_start is not None and trial.datetime_start >= ready
    ]
    if not seconds:
        raise DrftError("all trials started before the last worker was ready: ask for more with --trials")
    return seconds


def slot_seconds(ends: Sequence[float], slots: int) -> float:
    """Return how long a trial occupies its slot, from the end times of all trials; the first tenth is warm-up."""
    measured = sorted(ends)[max(slots, len(ends) // 10) - 1 :]
    return slots * statistics.fmean(later - earlier for earlier, later in pairwise(measured))


def measure(plan: BenchmarkPlan, instant_trials: int, console: Console) -> dict[str, Any]:
    """Run everything; return the cost on each executor, and the differences between the two executors."""
    os.environ.update(DRFT_CACHE=str(plan.folder / "cache"), OMP_NUM_THREADS="1")  # workers and nodes inherit them
    trained: dict[str, list[FrozenTrial]] = {}
    ends: dict[str, list[float]] = {}
    with empty_cluster() as cluster:
        for number in range(NODES):
            cache = str(plan.folder / "caches" / f"node-{number}")
            cluster.add_node(num_cpus=1, include_dashboard=False, env_vars={"DRFT_CACHE": cache})
        cluster.wait_for_nodes()
        for executor, address in (("local", None), ("ray", str(cluster.address))):
            console.print(f"{executor}: {len(plan.trials)} trainings, then {instant_trials} instant trials")
            trained[executor] = train(plan, executor, address)
            instant = train_instantly(plan, executor, address, instant_trials)
            ends[executor] = [trial.datetime_complete.timestamp() for trial in instant if trial.datetime_complete]
        console.print(f"tune: {instant_trials} instant trials")
        ends["tune"] = tune_trials(str(cluster.address), instant_trials, plan.folder / "tune")
    results = plan.folder / "results"
    return {
        "beyond_training_seconds": {executor: beyond_training(trials) for executor, trials in trained.items()},
        "instant_slot_seconds": {executor: slot_seconds(times, NODES) for executor, times in ends.items()},
        "compared": len(plan.trials),
        "differences": list(differences(results / "local", results / "ray", trained["local"], trained["ray"])),
    }


def rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of the table."""
    cells: list[tuple[str, ...]] = []
    for executor, slot in result["instant_slot_seconds"].items():
        beyond = result["beyond_training_seconds"].get(executor)
        texts = (_milliseconds(statistics.median(beyond)), _milliseconds(max(beyond))) if beyond else ("", "")
        cells.append((_NAMES[executor], *texts, _milliseconds(slot)))
    return cells


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def faults(result: Mapping[str, Any]) -> list[str]:
    """Return differences between the executors, and the executors on which a trial costs too much."""
    lines = list(result["differences"])
    for executor, beyond in result["beyond_training_seconds"].items():
        if max(statistics.median(beyond), result["instant_slot_seconds"][executor]) >= MAX_SECONDS:
            lines.append(f"{_NAMES[executor]}: a trial costs {MAX_SECONDS} s or more")
    return lines


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return the notes below the table."""
    equality = "; ".join(result["differences"]) or "records and stored predictions are equal bit for bit"
    setting = (
        f"{NODES} trials at once everywhere, one thread each; Ray and Ray Tune on the same {NODES} raylets of one CPU, "
        "each with a cache folder of its own. Beyond the training: from asking for a trial to its end in the storage, "
        "files included, less the seconds of its training in the worker, once every worker has ended a trial."
    )
    instant = (
        f"Instant trials ({result['instant_trials']}, random search, 10 epochs): mean time that a trial occupies its "
        "slot when training takes none, after the first tenth. Every epoch waits for its answer everywhere. drft-study "
        "also returns predictions and tensors and writes a trial's files; Ray Tune, with reused actors, does neither. "
        "Its loggers write the same metrics for both, as JSON and for TensorBoard."
    )
    same = f"The same {result['compared']} trainings on both executors: {equality}."
    load = f"Load average of the machine at the start: {result['load_average']:.1f}."
    return [same, work_line(result["work"]), setting, instant, load]


def _parse_arguments() -> argparse.Namespace:
    parser = command_parser("ray", __doc__)
    add_plan_options(parser)
    parser.add_argument("--instant-trials", type=int, help="default: 300")
    args = parser.parse_args()
    args.instant_trials = args.instant_trials or (60 if args.quick else 300)
    args.trials = args.trials or (18 if args.quick else 36)
    set_plan_defaults(args)
    return args


def main() -> None:
    """Measure, print, write."""
    args, console = _parse_arguments(), Console()
    started = time.perf_counter()
    with open_plan(args, console) as plan:
        result = {
            **describe_run("ray", args.label),
            "work": describe_work(args, plan.dataset()),
            "instant_trials": args.instant_trials,
            "load_average": os.getloadavg()[1],
            **measure(plan, args.instant_trials, console),
            "seconds": time.perf_counter() - started,
        }
    lines = [*faults(result), *notes(result)]
    publish("Ray", args.out / f"ray-{args.label}", result, [(_COLUMNS, rows(result))], lines, console)
    sys.exit(bool(faults(result)))


if __name__ == "__main__":
    main()
