"""Each contestant in a fresh Python process of its own, watched from outside.

``python -m benchmarks.run_program NAME PLAN RESULT`` is what those processes run.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from benchmarks.peer_measurement import ContestantMeasurement
from benchmarks.plan import BenchmarkPlan
from drft.errors import DrftError

Contestant = Literal["ours", "plain", "careful"]
CONTESTANTS: tuple[Contestant, ...] = get_args(Contestant)

_ROOT = Path(__file__).parent.parent
_LOOK_EVERY = 0.5
"""Seconds between two looks at the memory."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_ENVIRONMENT = MappingProxyType({"CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1"})
"""All contestants compute on the CPU, with their own choice of threads."""


def contest(name: Contestant, plan: BenchmarkPlan, tell: Callable[[str], None]) -> ContestantMeasurement:
    """Let one contestant do a plan in its own process.

    Args:
        name: who.
        plan: what, as ``Plan.write`` has written it.
        tell: told every line that the contestant prints.

    Raises:
        DrftError: with the end of its error output, when it fails.
    """
    result, log = plan.folder / f"{name}.json", plan.folder / f"{name}.log"
    command = [sys.executable, "-m", "benchmarks.run_program", name, str(plan.write()), str(result)]
    kept = {key: value for key, value in os.environ.items() if key not in _THREAD_VARIABLES}
    started = time.perf_counter()
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**kept, **_ENVIRONMENT}, cwd=_ROOT
        ) as process,
    ):
        watch = MemoryWatch(process.pid)
        assert process.stdout is not None
        for line in process.stdout:
            tell(line.strip())
    if process.returncode != 0:
        raise DrftError(f"the contestant {name} failed:\n{log.read_text()[-2000:]}")
    measured = ContestantMeasurement.read(result)
    return measured.model_copy(
        update={"process_seconds": time.perf_counter() - started, "peak_bytes": watch.peak() or None}
    )


class MemoryWatch:
    """Looks at the memory of a process and all that descend from it, until it ends.

    Memory that processes share counts once (proportional set size), so that forked loaders are not counted double.
    """

    def __init__(self, pid: int) -> None:
        self._highest = 0
        self._thread = threading.Thread(target=self._look, args=(pid,), daemon=True)
        self._thread.start()

    def peak(self) -> int:
        """Return the highest number of bytes that was seen; 0 where the system does not tell."""
        self._thread.join()
        return self._highest

    def _look(self, pid: int) -> None:
        while seen := sum(proportional_bytes(one) for one in family(pid)):
            self._highest = max(self._highest, seen)
            time.sleep(_LOOK_EVERY)


def family(pid: int) -> Iterator[int]:
    """Yield a process and all that descend from it, as far as Linux tells."""
    yield pid
    try:
        told = [task.joinpath("children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return
    for child in " ".join(told).split():
        yield from family(int(child))


def proportional_bytes(pid: int) -> int:
    """Return the proportional set size of a process; 0 when it has gone or the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def main() -> None:
    """Be one contestant."""
    name, plan, result = sys.argv[1:]
    if name == "ours":
        from benchmarks.ours import run  # noqa: PLC0415 (each process imports what it is about to use, no more)
    elif name == "plain":
        from benchmarks.plain import run  # noqa: PLC0415
    else:
        from benchmarks.careful import run  # noqa: PLC0415
    run(BenchmarkPlan.read(Path(plan))).write(Path(result))


if __name__ == "__main__":
    main()
