"""Do the statistics of a report keep what they promise?

::

    python -m benchmarks.coverage --quick
    python -m benchmarks.coverage --only selection --runs 2000

Runs every simulation of ``benchmarks/simulations``: made-up studies whose truth is known, in which intervals must cover
it as often as they say, noise must come out as noise, and planted differences must be found.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.machine import describe_machine, public_command
from benchmarks.pages import markdown_page, show_table, write_result
from benchmarks.simulations.base import Simulation, kept, measure, simulations

_COLUMNS = ("simulation", "what happens", "promised", "measured", "95% interval", "studies", "kept")
_QUICK = 10
"""A quick run simulates a tenth of the studies."""

_NOTE = (
    "The interval is that of the simulation (Wilson). A promise counts as kept when the interval does not rule it out, "
    "so of promises that are all exactly kept about one in twenty reads no."
)


def run(chosen: Sequence[Simulation], runs: int | None, seed: int, *, quick: bool, console: Console) -> dict[str, Any]:
    """Measure the chosen simulations, one after another."""
    started, found = time.perf_counter(), {}
    for simulation in chosen:
        count = runs or max(1, simulation.runs // (_QUICK if quick else 1))
        with console.status(f"{simulation.name}: {count} studies"):
            found[simulation.name] = _entry(simulation, count, seed)
    return {
        "label": "simulated studies",
        "command": public_command("benchmarks.coverage", sys.argv[1:]),
        "machine": describe_machine(),
        "seed": seed,
        "simulations": found,
        "seconds": time.perf_counter() - started,
    }


def rows(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the cells of the table."""
    return [
        (
            name,
            one["claim"],
            f"{one['promise']} {one['nominal']:.1%}",
            f"{one['rate']:.1%}",
            f"{one['low']:.1%} to {one['high']:.1%}",
            str(one["runs"]),
            "yes" if one["kept"] else "no",
        )
        for name, one in found.items()
    ]


def _entry(simulation: Simulation, runs: int, seed: int) -> dict[str, Any]:
    started = time.perf_counter()
    found = measure(simulation, runs, seed)
    return {
        "claim": simulation.claim,
        "promise": simulation.promise,
        "nominal": simulation.nominal,
        "rate": found.value,
        "low": found.low,
        "high": found.high,
        "runs": found.n,
        "kept": kept(simulation, found),
        "seconds": time.perf_counter() - started,
    }


def _parse() -> tuple[argparse.Namespace, list[Simulation]]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coverage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="simulations whose name begins like this")
    parser.add_argument("--runs", type=int, help="studies to simulate; without it, as many as each simulation asks for")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a tenth of the studies")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    wanted = parser.parse_args()
    chosen = [simulation for simulation in simulations() if simulation.name.startswith(wanted.only)]
    if not chosen:
        parser.error(f"no simulation begins with {wanted.only!r}")
    return wanted, chosen


def main() -> None:
    """Measure, print, write."""
    (wanted, chosen), console = _parse(), Console()
    result = run(chosen, wanted.runs, wanted.seed, quick=wanted.quick, console=console)
    table = (_COLUMNS, rows(result["simulations"]))
    show_table("Coverage", table, console)
    write_result(wanted.out / "coverage", result, markdown_page("Coverage", result, [table], [_NOTE]), [_NOTE], console)


if __name__ == "__main__":
    main()
