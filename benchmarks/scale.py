"""What a study costs as it grows: in trials, images, pixels and workers.

::

    python -m benchmarks.scale --quick
    python -m benchmarks.scale --parts trials --trial-counts 50,500,2000

Trials: the real driver, storage, files and worker processes with a trainer that takes no time, so that what is left
is what a study spends beside training; the sampler's own time is shown apart. Images, pixels, workers: real
studies from an empty cache with each depth once, one size changed at a time.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from benchmarks.arguments import add_flags, describe_work, laid_out, settle, teller
from benchmarks.instant import TimedSampler, windows
from benchmarks.machine import describe_machine, public_command
from benchmarks.ours import study_options
from benchmarks.pages import markdown_page, show_table, write_result
from benchmarks.run_program import contest
from drft.data.progress import silent
from study.executors.resources import cores
from study.run import drive
from study.setup.plan import prepare

PARTS = ("trials", "images", "resolution", "workers")

_WINDOW = 40
"""Trials over which the cost at one count is averaged."""

_USUAL = {"trial_counts": [50, 200, 500, 1000, 2000], "image_counts": [60, 120, 240, 480], "sizes": [64, 96, 128, 192]}
_QUICK = {"trial_counts": [50, 100, 200], "image_counts": [60, 120], "sizes": [64, 96]}

_TRIAL_COLUMNS = ("trials in the study", "ms a trial", "of it sampler", "of it the rest", "driver's memory")
_STUDY_COLUMNS = ("changed", "wall time", "setup", "s/trial", "memory of all processes")


def grow_in_trials(wanted: argparse.Namespace, console: Console) -> Mapping[int, dict[str, float]]:
    """Drive one long study of instant trainings; return what a trial costs at each count."""
    with laid_out(wanted, console) as plan, console.status("driving instant trials") as status:
        most = max(wanted.trial_counts)
        options = study_options(plan, trials=most, space="default", pruner="asha", sampler=wanted.sampler)
        prepared = prepare(options, silent)
        workload = dataclasses.replace(prepared.workload, trainer="benchmarks.instant:instant_trainer")
        sampler = TimedSampler(prepared.sampler)
        status.update(f"driving {most} instant trials")
        drive(dataclasses.replace(prepared, workload=workload, sampler=sampler), options, Console(quiet=True))
    return windows(sampler.laps, sorted(wanted.trial_counts), _WINDOW)


def studies(wanted: argparse.Namespace) -> Iterator[tuple[str, str, argparse.Namespace]]:
    """Yield the part, a name and the flags of every real study."""

    def changed(**changes: Any) -> argparse.Namespace:
        return argparse.Namespace(**{**vars(wanted), **changes})

    if "images" in wanted.parts:
        yield from (("images", f"{count} images", changed(images=count)) for count in wanted.image_counts)
    if "resolution" in wanted.parts:
        yield from (("resolution", f"{size} px", changed(image_size=size)) for size in wanted.sizes)
    if "workers" in wanted.parts:
        yield from (
            ("workers", f"{jobs} workers of {max(1, cores() // jobs)} threads", changed(jobs=jobs))
            for jobs in sorted({1, cores()})
        )


def run_study(name: str, wanted: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run one real study and return what it cost."""
    with laid_out(wanted, console) as plan, console.status(f"{name}: starting") as status:
        work = describe_work(wanted, plan.dataset())
        measured = contest("ours", plan, teller(console, status.update, name))
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


def trial_rows(found: Mapping[int, Mapping[str, float]]) -> list[tuple[str, ...]]:
    """Return the cells of the table of trials."""
    return [
        (
            str(count),
            *(f"{one[name]:.1f} ms" for name in ("milliseconds", "sampler", "rest")),
            f"{one['driver_bytes'] / 2**20:.0f} MiB",
        )
        for count, one in found.items()
    ]


def study_rows(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the cells of the table of real studies."""
    return [
        (
            name,
            f"{one['wall_seconds']:.1f} s",
            f"{one['setup_seconds']:.1f} s",
            f"{one['seconds_per_trial']:.2f}",
            f"{one['peak_bytes'] / 2**20:.0f} MiB" if one["peak_bytes"] else "not measured",
        )
        for name, one in found.items()
    ]


def run(wanted: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure every part that is wanted."""
    started = time.perf_counter()
    trials = grow_in_trials(wanted, console) if "trials" in wanted.parts else {}
    return {
        "label": wanted.label,
        "command": public_command("benchmarks.scale", sys.argv[1:]),
        "machine": describe_machine(),
        "sampler": wanted.sampler,
        "trials": dict(trials),
        "studies": {f"{part}: {name}": run_study(name, one, console) for part, name, one in studies(wanted)},
        "seconds": time.perf_counter() - started,
    }


def _numbers(said: str) -> list[int]:
    return [int(word) for word in said.split(",")]


def _parts(said: str) -> list[str]:
    parts = said.split(",")
    if not set(parts) <= set(PARTS):
        raise argparse.ArgumentTypeError(f"parts are {', '.join(PARTS)}")
    return parts


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_flags(parser)
    parser.add_argument("--parts", type=_parts, default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("--trial-counts", type=_numbers, help="numbers of instant trials")
    parser.add_argument("--image-counts", type=_numbers, help="numbers of images")
    parser.add_argument("--sizes", type=_numbers, help="pixels")
    parser.add_argument("--sampler", default="tpe", help="of the instant trials")
    wanted = parser.parse_args()
    for name, value in (_QUICK if wanted.quick else _USUAL).items():
        if getattr(wanted, name) is None:
            setattr(wanted, name, value)
    settle(wanted, rounds=1)
    return wanted


def main() -> None:
    """Measure, print, write."""
    wanted, console = _parse(), Console()
    result = run(wanted, console)
    tables = [(_TRIAL_COLUMNS, trial_rows(result["trials"])), (_STUDY_COLUMNS, study_rows(result["studies"]))]
    tables = [(columns, rows) for columns, rows in tables if rows]
    for table in tables:
        show_table(f"Scale: {result['label']}", table, console)
    page = markdown_page("Scale", result, tables, _notes(wanted, result))
    write_result(wanted.out / f"scale-{wanted.label}", result, page, _notes(wanted, result), console)


def _notes(wanted: argparse.Namespace, result: Mapping[str, Any]) -> list[str]:
    said = []
    if result["trials"]:
        said.append(
            f"Trials: one study with the sampler {wanted.sampler}, the pruner asha and a trainer that takes no time; "
            f"means over the last {_WINDOW} trials before each count. The rest is asking, reporting, files and pipes."
        )
    if result["studies"]:
        said.append(
            f"Studies: {wanted.backbone}, {wanted.trials} trials of {wanted.head_epochs} + {wanted.depth_epochs} "
            f"epochs, batches of {wanted.batch_size}, from an empty cache; {wanted.image_size} px where pixels are not "
            "what is changed. Starting workers is in the wall time."
        )
    return said


if __name__ == "__main__":
    main()
