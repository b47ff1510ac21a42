"""Cost of a study as it grows: in trials, images, pixels and workers.

::

    python -m benchmarks.scale --quick
    python -m benchmarks.scale --parts trials --trial-counts 50,500,2000

Trials: the real tuner, storage, files and worker processes with a trainer that takes no time, so the rest of a study's
cost remains; the sampler's own time is shown separately. Images, pixels, workers: real studies from an empty cache
with each depth once; one size changes at a time.
"""

import argparse
import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from benchmarks.arguments import (
    add_plan_options,
    command_parser,
    describe_work,
    open_plan,
    set_missing,
    set_plan_defaults,
)
from benchmarks.instant import TimedSampler, trial_costs
from benchmarks.machine import describe_run
from benchmarks.ours import study_options
from benchmarks.pages import publish
from benchmarks.run_program import run_program
from drft.data.progress import silent
from study.executors.resources import cores
from study.run import run_plan
from study.setup.plan import prepare

PARTS = ("trials", "images", "resolution", "workers")

_WINDOW = 40
"""Trials before each count over which the cost is averaged."""

_FULL = {"trial_counts": [50, 200, 500, 1000, 2000], "image_counts": [60, 120, 240, 480], "sizes": [64, 96, 128, 192]}
_QUICK = {"trial_counts": [50, 100, 200], "image_counts": [60, 120], "sizes": [64, 96]}

_TRIAL_COLUMNS = ("trials in the study", "ms a trial", "of it sampler", "of it the rest", "tuner's memory")
_STUDY_COLUMNS = ("changed", "wall time", "setup", "s/trial", "memory of all processes")


def run_instant_study(args: argparse.Namespace, console: Console) -> Mapping[int, dict[str, float]]:
    """Run one long study of instant trials; return the cost of a trial at each count."""
    trials = max(args.trial_counts)
    with open_plan(args, console) as plan, console.status(f"running {trials} instant trials"):
        options = study_options(plan, trials=trials, space="default", pruner="asha", sampler=args.sampler)
        prepared = prepare(options, silent)
        workload = dataclasses.replace(prepared.workload, trainer="benchmarks.instant:instant_trainer")
        sampler = TimedSampler(prepared.sampler)
        run_plan(dataclasses.replace(prepared, workload=workload, sampler=sampler), options, Console(quiet=True))
    return trial_costs(sampler.timings, sorted(args.trial_counts), _WINDOW)


def studies(args: argparse.Namespace) -> Iterator[tuple[str, str, argparse.Namespace]]:
    """Yield part, name and options of every real study."""
    changes: dict[str, list[tuple[str, dict[str, int]]]] = {
        "images": [(f"{count} images", {"images": count}) for count in args.image_counts],
        "resolution": [(f"{size} px", {"image_size": size}) for size in args.sizes],
        "workers": [
            (f"{jobs} workers of {max(1, cores() // jobs)} threads", {"jobs": jobs}) for jobs in sorted({1, cores()})
        ],
    }
    for part, variants in changes.items():
        if part in args.parts:
            for name, change in variants:
                yield part, name, argparse.Namespace(**{**vars(args), **change})


def run_study(name: str, args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run one real study and return its cost."""
    with open_plan(args, console) as plan:
        work = describe_work(args, plan.dataset())
        measured = run_program("ours", plan, console, title=name)
    wall = measured.setup_seconds + measured.seconds
    return {
        "work": work,
        "workers": measured.workers,
        "threads_per_worker": measured.threads,
        "wall_seconds": wall,
        "setup_seconds": measured.setup_seconds,
        "seconds_per_trial": wall / len(measured.trials),
        "peak_bytes": measured.peak_bytes,
    }


def trial_rows(costs: Mapping[int, Mapping[str, float]]) -> list[tuple[str, ...]]:
    """Return the cells of the table of instant trials."""
    return [
        (
            str(count),
            *(f"{cost[name]:.1f} ms" for name in ("milliseconds", "sampler", "rest")),
            f"{cost['driver_bytes'] / 2**20:.0f} MiB",
        )
        for count, cost in costs.items()
    ]


def study_rows(costs: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the cells of the table of real studies."""
    return [
        (
            name,
            f"{cost['wall_seconds']:.1f} s",
            f"{cost['setup_seconds']:.1f} s",
            f"{cost['seconds_per_trial']:.2f}",
            f"{cost['peak_bytes'] / 2**20:.0f} MiB" if cost["peak_bytes"] else "not measured",
        )
        for name, cost in costs.items()
    ]


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure the chosen parts; return the result as it is written to JSON."""
    started = time.perf_counter()
    trials = run_instant_study(args, console) if "trials" in args.parts else {}
    return {
        **describe_run("scale", args.label),
        "sampler": args.sampler,
        "trials": dict(trials),
        "studies": {f"{part}: {name}": run_study(name, changed, console) for part, name, changed in studies(args)},
        "seconds": time.perf_counter() - started,
    }


def notes(args: argparse.Namespace, result: Mapping[str, Any]) -> list[str]:
    """Return the notes below the tables."""
    lines = []
    if result["trials"]:
        lines.append(
            f"Trials: one study with the sampler {args.sampler}, the pruner asha and a trainer that takes no time; "
            f"means over the last {_WINDOW} trials before each count. The rest is asking, reporting, files and pipes."
        )
    if result["studies"]:
        lines.append(
            f"Studies: {args.backbone}, {args.trials} trials of {args.head_epochs} + {args.depth_epochs} "
            f"epochs, batches of {args.batch_size}, from an empty cache; {args.image_size} px unless the pixels "
            "change. The wall time includes the start of the workers."
        )
    return lines


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    if not set(parts) <= set(PARTS):
        raise argparse.ArgumentTypeError(f"parts are {', '.join(PARTS)}")
    return parts


def main() -> None:
    """Measure, print, write."""
    parser = command_parser("scale", __doc__)
    add_plan_options(parser)
    parser.add_argument("--parts", type=_parts, default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("--trial-counts", type=_numbers, help="numbers of instant trials")
    parser.add_argument("--image-counts", type=_numbers, help="numbers of images")
    parser.add_argument("--sizes", type=_numbers, help="pixels")
    parser.add_argument("--sampler", default="tpe", help="of the instant trials")
    args, console = parser.parse_args(), Console()
    set_missing(args, _QUICK if args.quick else _FULL)
    set_plan_defaults(args, rounds=1)
    result = run(args, console)
    tables = [(_TRIAL_COLUMNS, trial_rows(result["trials"])), (_STUDY_COLUMNS, study_rows(result["studies"]))]
    shown = [(columns, cells) for columns, cells in tables if cells]
    publish("Scale", args.out / f"scale-{args.label}", result, shown, notes(args, result), console)


if __name__ == "__main__":
    main()
