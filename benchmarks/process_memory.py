"""Memory of a process and its descendants, as Linux reports it in ``/proc``."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

_INTERVAL = 0.5
"""Seconds between two samples."""


class PeakMemory:
    """Samples the memory of a process and its descendants in a thread until the process ends.

    Memory that processes share counts once (proportional set size), so forked loader processes are not counted double.
    """

    def __init__(self, pid: int) -> None:
        self._peak = 0
        self._thread = threading.Thread(target=self._sample, args=(pid,), daemon=True)
        self._thread.start()

    def wait(self) -> int:
        """Wait for the end of the process; return the highest sample in bytes, 0 on systems without ``/proc``."""
        self._thread.join()
        return self._peak

    def _sample(self, pid: int) -> None:
        while used := sum(map(proportional_bytes, process_tree(pid))):
            self._peak = max(self._peak, used)
            time.sleep(_INTERVAL)


def process_tree(pid: int) -> Iterator[int]:
    """Yield the ids of a process and of all its descendants; only its own id on systems without ``/proc``."""
    yield pid
    try:
        children = [task.joinpath("children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return
    for child in " ".join(children).split():
        yield from process_tree(int(child))


def proportional_bytes(pid: int) -> int:
    """Return the proportional set size of a process; 0 when it has ended, or on systems without ``/proc``."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
