"""A real study against its floor: wall time over the bare arithmetic of its trained suffixes, measured alone.

::

    python -m benchmarks.limit --quick
    python -m benchmarks.limit --data FOLDER --weights FILE --normalization half

The study is run as in ``benchmarks.peers``, from an empty cache. The floor is measured afterwards, with as many
processes and threads at the same time as the study had workers and threads.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from benchmarks.arguments import add_flags, describe_work, laid_out, settle, teller
from benchmarks.lower_bound import measure
from benchmarks.machine import describe_machine, public_command
from benchmarks.pages import markdown_page, show_table, work_line, write_result
from benchmarks.peer_measurement import ContestantMeasurement
from benchmarks.peers import arithmetic
from benchmarks.plan import BenchmarkPlan
from benchmarks.run_program import contest

_COLUMNS = ("depth", "trials", "s/trial", "floor s/trial", "times the floor", "optimizer step", "evaluated image")


def run(wanted: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run the study, measure its floor, and return both as they are written to JSON."""
    with laid_out(wanted, console) as plan:
        dataset = plan.dataset()
        with console.status("ours: starting") as status:
            measured = contest("ours", plan, teller(console, status.update, "ours"))
        with console.status("measuring the floor"):
            seconds = 0.2 if wanted.quick else 1.0
            times = measure(
                plan.trials[0], len(dataset.grades), workers=measured.workers, threads=measured.threads, seconds=seconds
            )
    floor = arithmetic(plan, dataset, times)
    whole = sum(floor.values()) / measured.workers
    return {
        "label": wanted.label,
        "command": public_command("benchmarks.limit", sys.argv[1:]),
        "machine": describe_machine(),
        "work": describe_work(wanted, dataset),
        "workers": measured.workers,
        "threads_per_worker": measured.threads,
        "wall_seconds": measured.setup_seconds + measured.seconds,
        "setup_seconds": measured.setup_seconds,
        "busy_seconds": sum(trial.seconds for trial in measured.trials) / measured.workers,
        "floor_seconds": whole,
        "ratio": (measured.setup_seconds + measured.seconds) / whole,
        "by_depth": _by_depth(plan, measured, floor),
        "times": {depth: one.model_dump() for depth, one in times.items()},
        "measured": measured.model_dump(),
    }


def _by_depth(
    plan: BenchmarkPlan, measured: ContestantMeasurement, floor: Mapping[int, float]
) -> dict[int, dict[str, float]]:
    depths = sorted({config.depth for config in plan.trials})
    found: dict[int, dict[str, float]] = {}
    for depth in depths:
        taken = {trial.number: trial.seconds for trial in measured.trials if trial.depth == depth}
        found[depth] = {
            "trials": len(taken),
            "seconds": statistics.mean(taken.values()),
            "floor_seconds": statistics.mean(floor[number] for number in taken),
        }
    return found


def rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of the table, one row per depth."""
    return [
        (
            str(depth),
            f"{one['trials']}",
            f"{one['seconds']:.2f}",
            f"{one['floor_seconds']:.2f}",
            f"{one['seconds'] / one['floor_seconds']:.2f}",
            f"{1000 * result['times'][depth]['step']:.2f} ms",
            f"{1000 * result['times'][depth]['picture']:.3f} ms",
        )
        for depth, one in result["by_depth"].items()
    ]


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return the ratio, and what the wall time is made of."""
    wall, setup, busy = (result[f"{part}_seconds"] for part in ("wall", "setup", "busy"))
    trained = f"{busy:.1f} s trained on {result['workers']} workers of {result['threads_per_worker']} threads"
    return [
        f"Wall time {wall:.1f} s, floor {result['floor_seconds']:.1f} s: {result['ratio']:.2f} times the floor.",
        f"{setup:.1f} s prepared (decoding), {trained}, {wall - setup - busy:.1f} s started workers or waited.",
        f"{result['work']['trials']} trials; {work_line(result['work'])}",
    ]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.limit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_flags(parser)
    wanted = parser.parse_args()
    settle(wanted)
    console = Console()
    result = run(wanted, console)
    table = (_COLUMNS, rows(result))
    show_table(f"Limit: {result['label']}", table, console)
    page = markdown_page("Limit", result, [table], notes(result))
    write_result(wanted.out / f"limit-{wanted.label}", result, page, notes(result), console)


if __name__ == "__main__":
    main()
