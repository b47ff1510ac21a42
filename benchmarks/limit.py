"""A real study against its lower bound: wall time over the compute time of its trained blocks, measured alone.

::

    python -m benchmarks.limit --quick
    python -m benchmarks.limit --data FOLDER --weights FILE --normalization half

The study runs as in ``benchmarks.peers``, from an empty cache. The lower bound is measured afterwards, in as many
processes and threads at the same time as the study had workers and threads.
"""

import argparse
import statistics
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from benchmarks.arguments import add_plan_options, command_parser, describe_work, open_plan, set_plan_defaults
from benchmarks.lower_bound import lower_bounds, measure_compute_times
from benchmarks.machine import describe_run
from benchmarks.pages import publish, work_line
from benchmarks.run_program import run_program

_COLUMNS = ("depth", "trials", "s/trial", "lower bound s/trial", "ratio", "optimizer step", "evaluated image")


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run the study, measure its lower bound, and return both as they are written to JSON."""
    with open_plan(args, console) as plan:
        dataset = plan.dataset()
        study = run_program("ours", plan, console)
        with console.status("measuring the lower bound"):
            times = measure_compute_times(
                plan.trials[0],
                len(dataset.grades),
                workers=study.workers,
                threads=study.threads,
                seconds=0.2 if args.quick else 1.0,
            )
    bounds = lower_bounds(plan, dataset, times)
    bound = sum(bounds.values()) / study.workers
    by_depth = {}
    for depth in sorted({config.depth for config in plan.trials}):
        seconds = {trial.number: trial.seconds for trial in study.trials if trial.depth == depth}
        by_depth[depth] = {
            "trials": len(seconds),
            "seconds": statistics.mean(seconds.values()),
            "floor_seconds": statistics.mean(bounds[number] for number in seconds),
        }
    return {
        **describe_run("limit", args.label),
        "work": describe_work(args, dataset),
        "workers": study.workers,
        "threads_per_worker": study.threads,
        "wall_seconds": study.setup_seconds + study.seconds,
        "setup_seconds": study.setup_seconds,
        "busy_seconds": sum(trial.seconds for trial in study.trials) / study.workers,
        "floor_seconds": bound,
        "ratio": (study.setup_seconds + study.seconds) / bound,
        "by_depth": by_depth,
        "times": {depth: {"step": measured.step, "picture": measured.image} for depth, measured in times.items()},
        "measured": study.model_dump(),
    }


def rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of the table, one row per depth."""
    return [
        (
            str(depth),
            f"{row['trials']}",
            f"{row['seconds']:.2f}",
            f"{row['floor_seconds']:.2f}",
            f"{row['seconds'] / row['floor_seconds']:.2f}",
            f"{1000 * result['times'][depth]['step']:.2f} ms",
            f"{1000 * result['times'][depth]['picture']:.3f} ms",
        )
        for depth, row in result["by_depth"].items()
    ]


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return the ratio and the parts of the wall time."""
    wall, setup, busy = (result[f"{part}_seconds"] for part in ("wall", "setup", "busy"))
    trained = f"{busy:.1f} s training on {result['workers']} workers of {result['threads_per_worker']} threads"
    return [
        f"Wall time {wall:.1f} s, lower bound {result['floor_seconds']:.1f} s: ratio {result['ratio']:.2f}.",
        f"{setup:.1f} s setup (decoding), {trained}, {wall - setup - busy:.1f} s starting workers or waiting.",
        f"{result['work']['trials']} trials; {work_line(result['work'])}",
    ]


def main() -> None:
    """Measure, print, write."""
    parser = command_parser("limit", __doc__)
    add_plan_options(parser)
    args = parser.parse_args()
    set_plan_defaults(args)
    console = Console()
    result = run(args, console)
    publish("Limit", args.out / f"limit-{args.label}", result, [(_COLUMNS, rows(result))], notes(result), console)


if __name__ == "__main__":
    main()
