"""Run drft-study or one of its peers on a plan, in a Python process of its own.

``python -m benchmarks.run_program NAME PLAN RESULT`` is the command of that process.
"""

import argparse
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal, get_args

from rich.console import Console

from benchmarks.peer_measurement import ProgramMeasurement
from benchmarks.plan import BenchmarkPlan
from benchmarks.process_memory import PeakMemory
from drft.errors import DrftError

Program = Literal["ours", "plain", "careful"]
PROGRAMS: tuple[Program, ...] = get_args(Program)
"""Each is a module of ``benchmarks`` with a function ``run``."""

_ROOT = Path(__file__).parent.parent
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_program(name: Program, plan: BenchmarkPlan, console: Console, title: str | None = None) -> ProgramMeasurement:
    """Run a plan in a new process and return its measurement.

    Args:
        name: which program runs.
        plan: what it runs.
        console: shows the last line that the process printed: in place on a terminal, each on a new line elsewhere.
        title: starts each of these lines; the program's name by default.

    Raises:
        DrftError: when the process fails; with the end of its error output.
    """
    result, log, title = plan.folder / f"{name}.json", plan.folder / f"{name}.log", title or name
    command = [sys.executable, "-m", "benchmarks.run_program", name, str(plan.write()), str(result)]
    # All programs compute on the CPU and choose their number of threads themselves.
    environment = {key: value for key, value in os.environ.items() if key not in _THREAD_VARIABLES}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1"}
    started = time.perf_counter()
    with (
        console.status(f"{title}: starting") as status,
        log.open("w") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, cwd=_ROOT
        ) as process,
    ):
        memory = PeakMemory(process.pid)
        assert process.stdout is not None
        for line in process.stdout:
            if console.is_terminal:
                status.update(f"{title}: {line.strip()}")
            else:
                console.print(f"{title}: {line.strip()}", markup=False, highlight=False, soft_wrap=True)
    if process.returncode != 0:
        raise DrftError(f"the program {name} failed:\n{log.read_text()[-2000:]}")
    seconds = time.perf_counter() - started
    measurement = ProgramMeasurement.model_validate_json(result.read_text())
    return measurement.model_copy(update={"process_seconds": seconds, "peak_bytes": memory.wait() or None})


def main() -> None:
    """Run one program and write its measurement."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run_program", description=__doc__)
    parser.add_argument("name", choices=PROGRAMS)
    parser.add_argument("plan", type=Path, help="JSON file of the plan")
    parser.add_argument("result", type=Path, help="JSON file for the measurement")
    args = parser.parse_args()
    plan = BenchmarkPlan.model_validate_json(args.plan.read_text())
    program = importlib.import_module(f"benchmarks.{args.name}")  # imports only what this program needs
    args.result.write_text(program.run(plan).model_dump_json())


if __name__ == "__main__":
    main()
