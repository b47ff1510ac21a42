"""Coverage of the statistics of a report, in simulated studies whose truth is known.

::

    python -m benchmarks.coverage --quick
    python -m benchmarks.coverage --only overtuning --runs 2000

Runs every simulation of ``benchmarks/simulations``: intervals must cover the truth as often as promised, noise must be
recognized as noise, and differences that exist must be found.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from benchmarks.arguments import command_parser
from benchmarks.machine import describe_run
from benchmarks.pages import publish
from benchmarks.simulations.base import Simulation, is_kept, measure, simulations

_COLUMNS = ("simulation", "what happens", "promised", "measured", "95% interval", "studies", "kept")
_QUICK = 10
"""A quick run simulates a tenth of the studies."""

_NOTE = (
    "The interval is that of the simulation (Wilson). A promise counts as kept unless the interval excludes it, so "
    "about one in twenty promises that are exactly kept reads no."
)


def run(chosen: Sequence[Simulation], runs: int | None, seed: int, *, quick: bool, console: Console) -> dict[str, Any]:
    """Measure the chosen simulations, one after another; return the result as it is written to JSON."""
    began, entries = time.perf_counter(), {}
    for simulation in chosen:
        count, started = runs or max(1, simulation.runs // (_QUICK if quick else 1)), time.perf_counter()
        with console.status(f"{simulation.name}: {count} studies"):
            rate = measure(simulation, count, seed)
        entries[simulation.name] = {
            "claim": simulation.claim,
            "promise": simulation.promise,
            "nominal": simulation.nominal,
            "rate": rate.value,
            "low": rate.low,
            "high": rate.high,
            "runs": rate.n,
            "kept": is_kept(simulation, rate),
            "seconds": time.perf_counter() - started,
        }
    return {
        **describe_run("coverage", "simulated studies"),
        "seed": seed,
        "simulations": entries,
        "seconds": time.perf_counter() - began,
    }


def rows(entries: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the cells of the table."""
    return [
        (
            name,
            entry["claim"],
            f"{entry['promise']} {entry['nominal']:.1%}",
            f"{entry['rate']:.1%}",
            f"{entry['low']:.1%} to {entry['high']:.1%}",
            str(entry["runs"]),
            "yes" if entry["kept"] else "no",
        )
        for name, entry in entries.items()
    ]


def main() -> None:
    """Measure, print, write."""
    parser = command_parser("coverage", __doc__)
    parser.add_argument("--only", default="", help="simulations whose name starts with this")
    parser.add_argument("--runs", type=int, help="studies to simulate; default: a number of each simulation's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a tenth of the studies")
    args, console = parser.parse_args(), Console()
    chosen = [simulation for simulation in simulations() if simulation.name.startswith(args.only)]
    if not chosen:
        parser.error(f"no simulation starts with {args.only!r}")
    result = run(chosen, args.runs, args.seed, quick=args.quick, console=console)
    publish("Coverage", args.out / "coverage", result, [(_COLUMNS, rows(result["simulations"]))], [_NOTE], console)


if __name__ == "__main__":
    main()
