"""Is the tuner of a running trial alive? Process tags, and heartbeats of tuners on other machines.

A tag of host, process id and start time is unique; a process id alone is reused. Tuners on other machines are alive as
long as their heartbeat changes, an attribute of the study that they set every few seconds.
"""

import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

BEAT_SECONDS = 15.0
"""Seconds between two heartbeats of a tuner."""

DEAD_SECONDS = 120.0
"""A tuner counts as dead when its heartbeat has not changed for so many seconds."""

_PROC = Path("/proc")


def this_process() -> str:
    """Return the tag of this process: ``host:pid:start``."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_time(os.getpid())}"


def is_alive(tag: str) -> bool:
    """Return whether the process of ``tag`` may be alive; true for processes of other hosts."""
    host, pid, start = tag.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    if _PROC.is_dir():
        return bool(start) and _start_time(int(pid)) == start
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process of another user
        return True
    return True


def beat_attribute(tag: str) -> str:
    """Return the name of the study attribute with the heartbeat of a tuner."""
    return f"beat:{tag}"


class Heartbeats:
    """The heartbeats of other tuners, and when each last changed.

    The value of a heartbeat is not compared with a clock, since the clocks of two machines differ. What counts is for
    how long, by the clock of this machine, it has not changed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._updated = -math.inf
        self._beats: Mapping[str, Any] = {}
        self._since: dict[str, float] = {}

    def update(self, attributes: Mapping[str, Any]) -> None:
        """Read the heartbeats in the attributes of the study."""
        now = self._clock()
        if now - self._updated > DEAD_SECONDS / 2:
            self._since.clear()  # this process slept or the storage was away: heartbeats may have been missed
        for name, beat in attributes.items():
            if name not in self._since or beat != self._beats.get(name):
                self._since[name] = now
        self._beats, self._updated = dict(attributes), now

    def is_alive(self, tag: str) -> bool:
        """Return whether the tuner of ``tag`` may be alive; true when the tag is seen for the first time."""
        if tag.startswith(f"{socket.gethostname()}:"):
            return is_alive(tag)
        since = self._since.setdefault(beat_attribute(tag), self._updated)
        return self._updated - since <= DEAD_SECONDS


def _start_time(pid: int) -> str:
    """Return boot id and start time (kernel ticks) of a process; empty when it ended or the system has no /proc."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()[:8]
        # The command name, in parentheses, may contain spaces; state and start time are fields 3 and 22.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot}-{fields[19]}"
