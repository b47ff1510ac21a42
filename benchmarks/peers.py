"""This program and two peers on the same images, configurations, epochs and seeds, one after another.

::

    python -m benchmarks.peers --quick
    python -m benchmarks.peers --data FOLDER --weights FILE --normalization half

Prints a table, and writes it with everything that was measured to ``results/benchmarks/peers-LABEL.{json,md}``.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from benchmarks.arguments import add_flags, describe_work, laid_out, settle, teller
from benchmarks.comparison import Agreement, BestScoreDifference, ContestantCosts, agree, compare_best, stand
from benchmarks.lower_bound import Times, TrialWorkload, measure, trial_floor
from benchmarks.machine import describe_machine, public_command
from benchmarks.pages import markdown_page, show_table, work_line, write_result
from benchmarks.peer_measurement import ContestantMeasurement
from benchmarks.plan import BenchmarkPlan, store_jpegs
from benchmarks.run_program import CONTESTANTS, contest
from drft.data import ImageDataset, stratified_split
from study.executors.resources import cores

_TITLES = {"ours": "drft-study", "plain": "(a) plain", "careful": "(b) careful"}
_COLUMNS = ("", "trials", "s/trial", "per hour", "ratio", "same trials", "floor", "share", "memory")

_LEGEND = (
    "s/trial: wall time over trials, with setup (decoding) shared out over all trials; imports are not counted, the "
    "start of drft-study's workers is. ratio: s/trial over that of drft-study; same trials: over those that all "
    "ran. floor: seconds of bare arithmetic of the trained blocks in a trial, on the cores that the contestant "
    "uses; share: of s/trial. What is not in it is frozen blocks, images and everything else. memory: highest of "
    "all processes together, cache files that they map included (shared pages counted once)."
)


def run(wanted: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run all contestants and return what came out, as it is written to JSON."""
    with laid_out(wanted, console, wanted.peer_trials) as plan:
        dataset = plan.dataset()
        if "plain" in wanted.peers:
            with console.status("resizing the plain peer's files (not timed)"):
                store_jpegs(dataset, plan.stored)
        measured: dict[str, ContestantMeasurement] = {}
        for name in ("ours", *wanted.peers):
            with console.status(f"{name}: starting") as status:
                measured[name] = contest(name, plan, teller(console, status.update, name))
        with console.status("measuring the bare arithmetic"):
            floors = _floors(plan, dataset, measured, 0.2 if wanted.quick else 1.0)
    return _result(wanted, plan, dataset, measured, floors)


def arithmetic(
    plan: BenchmarkPlan, dataset: ImageDataset, times: Mapping[int, Times], *, workers: int = 1, test: bool = True
) -> dict[int, float]:
    """Return the bare arithmetic of every trial in seconds, shared out over workers that run side by side."""
    split = stratified_split(dataset, plan.trials[0].split)
    evaluated = len(split.train) + len(split.validation) + (len(split.test) if test else 0)
    images = TrialWorkload(len(split.train), evaluated)
    return {number: trial_floor(config, times, images) / workers for number, config in enumerate(plan.trials)}


def _floors(
    plan: BenchmarkPlan, dataset: ImageDataset, measured: Mapping[str, ContestantMeasurement], seconds: float
) -> dict[str, dict[int, float]]:
    """Measure the arithmetic with the workers and threads of each; peers do not predict the test images."""
    config, classes, own = plan.trials[0], len(dataset.grades), measured["ours"]
    times = measure(config, classes, workers=own.workers, threads=own.threads, seconds=seconds)
    floors = {"ours": arithmetic(plan, dataset, times, workers=own.workers)}
    if len(measured) > 1:
        times = measure(config, classes, workers=1, threads=cores(), seconds=seconds)
        floors |= {name: arithmetic(plan, dataset, times, test=False) for name in measured if name != "ours"}
    return floors


def _result(
    wanted: argparse.Namespace,
    plan: BenchmarkPlan,
    dataset: ImageDataset,
    measured: Mapping[str, ContestantMeasurement],
    floors: Mapping[str, Mapping[int, float]],
) -> dict[str, Any]:
    own = measured["ours"]
    agreement: dict[str, Agreement | BestScoreDifference] = {}
    if "careful" in measured:
        agreement["careful"] = agree(own, measured["careful"])
    if "plain" in measured:
        agreement["plain"] = compare_best(own, measured["plain"])
    return {
        "label": wanted.label,
        "command": public_command("benchmarks.peers", sys.argv[1:]),
        "machine": describe_machine(),
        "work": {**describe_work(wanted, dataset), "peer_trials": len(plan.chosen)},
        "workers": own.workers,
        "threads_per_worker": own.threads,
        "standing": {name: one.model_dump() for name, one in stand(plan, measured, floors).items()},
        "agreement": {name: one.model_dump() for name, one in agreement.items()},
        "measured": {name: one.model_dump() for name, one in measured.items()},
        "strengths": [config.augmentation.strength for config in plan.trials],
        "arithmetic_seconds": {name: dict(floor) for name, floor in floors.items()},
    }


def rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of the table, one row per contestant."""
    return [
        (_TITLES[name], *_cells(ContestantCosts.model_validate(progress)))
        for name, progress in result["standing"].items()
    ]


def _cells(one: ContestantCosts) -> tuple[str, ...]:
    return (
        str(one.ran),
        f"{one.seconds_per_trial:.2f}",
        f"{one.trials_per_hour:.0f}",
        f"{one.ratio:.1f}",
        f"{one.ratio_chosen:.1f}",
        f"{one.arithmetic_seconds_per_trial:.2f} s",
        f"{one.arithmetic_share:.0%}",
        f"{one.peak_bytes / 2**20:.0f} MiB" if one.peak_bytes else "not measured",
    )


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return what has to be said beside the table."""
    work, found = result["work"], result["agreement"]
    own = f"{work['trials']} trials with {result['workers']} workers of {result['threads_per_worker']} threads"
    said = [
        work_line(work),
        f"drft-study ran {own}, from an empty cache; each peer ran {work['peer_trials']} of them, even over depths.",
        _LEGEND,
    ]
    if one := found.get("careful"):
        said.append(
            f"Validation curves of (b) against drft-study, {one['steps']} steps of {one['trials']} trials: accuracy "
            f"equal in {one['equal_steps']:.1%}, differs by at most {one['accuracy_max']:.4f} (mean "
            f"{one['accuracy_mean']:.5f}); loss by at most {one['loss_max']:.2g} (mean {one['loss_mean']:.2g})."
        )
    if one := found.get("plain"):
        said.append(
            f"Best validation accuracy of (a) minus drft-study's, {one['trials']} trials: {one['mean']:+.3f} on "
            f"average, {one['mean_absolute']:.3f} in absolute value; its images and batches are others."
        )
    return said


def _peers(said: str) -> Sequence[str]:
    names = [name for name in said.split(",") if name]
    unknown = [name for name in names if name not in CONTESTANTS or name == "ours"]
    if unknown:
        raise argparse.ArgumentTypeError(f"no peer {', '.join(unknown)}; there are plain and careful")
    return names


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_flags(parser)
    parser.add_argument("--peers", type=_peers, default=["plain", "careful"], help="plain,careful")
    parser.add_argument("--peer-trials", type=int, help="trials of each peer; every depth once without it")
    wanted = parser.parse_args()
    settle(wanted)
    console = Console()
    result = run(wanted, console)
    table = (_COLUMNS, rows(result))
    show_table(f"Peers: {result['label']}", table, console)
    page = markdown_page("Peers", result, [table], notes(result))
    write_result(wanted.out / f"peers-{wanted.label}", result, page, notes(result), console)


if __name__ == "__main__":
    main()
