"""drft-study and two peers on the same images, configurations, epochs and seeds, one after another.

::

    python -m benchmarks.peers --quick
    python -m benchmarks.peers --data FOLDER --weights FILE --normalization half

Prints a table, and writes it with everything that was measured to ``results/benchmarks/peers-LABEL.{json,md}``.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from benchmarks.arguments import add_plan_options, command_parser, describe_work, open_plan, set_plan_defaults
from benchmarks.comparison import (
    BestScoreDifference,
    CurveAgreement,
    ProgramCosts,
    compare_best,
    compare_costs,
    compare_curves,
)
from benchmarks.lower_bound import lower_bounds, measure_compute_times
from benchmarks.machine import describe_run
from benchmarks.pages import publish, work_line
from benchmarks.peer_measurement import ProgramMeasurement
from benchmarks.plan import BenchmarkPlan, write_jpegs
from benchmarks.run_program import PROGRAMS, run_program
from drft.data import ImageDataset
from study.executors.resources import cores

_TITLES = {"ours": "drft-study", "plain": "(a) plain", "careful": "(b) careful"}
_COLUMNS = ("", "trials", "s/trial", "per hour", "ratio", "same trials", "lower bound", "share", "memory")

_LEGEND = (
    "s/trial: wall time over trials, with setup (decoding) divided by all trials; imports are not counted, the start "
    "of drft-study's workers is. ratio: s/trial over that of drft-study; same trials: over the trials that all "
    "programs ran. lower bound: compute seconds of the trained blocks in a trial, on the cores that the program uses; "
    "share: of s/trial. The rest is frozen blocks, images and everything else. memory: highest of all processes "
    "together, memory-mapped cache files included (shared pages counted once)."
)


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run all programs and return the result as it is written to JSON."""
    with open_plan(args, console, args.peer_trials) as plan:
        dataset = plan.dataset()
        if "plain" in args.peers:
            with console.status("resizing the plain peer's files (not timed)"):
                write_jpegs(dataset, plan.jpegs)
        measured = {name: run_program(name, plan, console) for name in ("ours", *args.peers)}
        with console.status("measuring the lower bounds"):
            bounds = _lower_bounds(plan, dataset, measured, 0.2 if args.quick else 1.0)
    own = measured["ours"]
    agreement: dict[str, CurveAgreement | BestScoreDifference] = {}
    if "careful" in measured:
        agreement["careful"] = compare_curves(own, measured["careful"])
    if "plain" in measured:
        agreement["plain"] = compare_best(own, measured["plain"])
    return {
        **describe_run("peers", args.label),
        "work": {**describe_work(args, dataset), "peer_trials": len(plan.chosen)},
        "workers": own.workers,
        "threads_per_worker": own.threads,
        "standing": {name: costs.model_dump() for name, costs in compare_costs(plan, measured, bounds).items()},
        "agreement": {name: comparison.model_dump() for name, comparison in agreement.items()},
        "measured": {name: program.model_dump() for name, program in measured.items()},
        "strengths": [config.augmentation.strength for config in plan.trials],
        "arithmetic_seconds": bounds,
    }


def _lower_bounds(
    plan: BenchmarkPlan, dataset: ImageDataset, measured: Mapping[str, ProgramMeasurement], seconds: float
) -> dict[str, dict[int, float]]:
    """Measure with the workers and threads of each program; the peers do not predict the test images."""
    config, classes, own = plan.trials[0], len(dataset.grades), measured["ours"]
    times = measure_compute_times(config, classes, workers=own.workers, threads=own.threads, seconds=seconds)
    bounds = {"ours": lower_bounds(plan, dataset, times, workers=own.workers)}
    if len(measured) > 1:
        times = measure_compute_times(config, classes, workers=1, threads=cores(), seconds=seconds)
        bounds |= {name: lower_bounds(plan, dataset, times, test=False) for name in measured if name != "ours"}
    return bounds


def rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of the table, one row per program."""
    programs = {name: ProgramCosts.model_validate(costs) for name, costs in result["standing"].items()}
    return [
        (
            _TITLES[name],
            str(costs.ran),
            f"{costs.seconds_per_trial:.2f}",
            f"{costs.trials_per_hour:.0f}",
            f"{costs.ratio:.1f}",
            f"{costs.ratio_chosen:.1f}",
            f"{costs.arithmetic_seconds_per_trial:.2f} s",
            f"{costs.arithmetic_share:.0%}",
            f"{costs.peak_bytes / 2**20:.0f} MiB" if costs.peak_bytes else "not measured",
        )
        for name, costs in programs.items()
    ]


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return the notes below the table."""
    work, agreement = result["work"], result["agreement"]
    workers = f"{result['workers']} workers of {result['threads_per_worker']} threads"
    trials = (
        f"drft-study ran {work['trials']} trials with {workers}, from an empty cache; each peer ran "
        f"{work['peer_trials']} of them, spread evenly over the depths."
    )
    lines = [work_line(work), trials, _LEGEND]
    if curves := agreement.get("careful"):
        lines.append(
            f"Validation curves of (b) against drft-study, {curves['steps']} epochs of {curves['trials']} trials: "
            f"accuracy equal in {curves['equal_steps']:.1%}, differs by at most {curves['accuracy_max']:.4f} (mean "
            f"{curves['accuracy_mean']:.5f}); loss by at most {curves['loss_max']:.2g} (mean "
            f"{curves['loss_mean']:.2g})."
        )
    if best := agreement.get("plain"):
        lines.append(
            f"Best validation accuracy of (a) minus drft-study's, {best['trials']} trials: {best['mean']:+.3f} on "
            f"average, {best['mean_absolute']:.3f} in absolute value; its resized images and its batches differ."
        )
    return lines


def _peers(text: str) -> Sequence[str]:
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in PROGRAMS or name == "ours"]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown peer {', '.join(unknown)}: choose plain, careful or both")
    return names


def main() -> None:
    """Measure, print, write."""
    parser = command_parser("peers", __doc__)
    add_plan_options(parser)
    parser.add_argument("--peers", type=_peers, default=["plain", "careful"], help="plain,careful")
    parser.add_argument("--peer-trials", type=int, help="trials of each peer; default: every depth once")
    args = parser.parse_args()
    set_plan_defaults(args)
    console = Console()
    result = run(args, console)
    publish("Peers", args.out / f"peers-{args.label}", result, [(_COLUMNS, rows(result))], notes(result), console)


if __name__ == "__main__":
    main()
