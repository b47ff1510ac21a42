"""Whose trial is it? A tag that tells a living driver from a dead one.

Host, process id and start time name one process for good; a process id alone is soon given to another. Of a driver on
another machine only its heartbeat tells: an attribute of the study that it changes every few seconds.
"""

import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

BEAT_SECONDS = 15.0
"""Seconds between two heartbeats of a driver."""

DEAD_SECONDS = 120.0
"""A driver whose heartbeat has not changed for so long is taken for dead."""

_PROC = Path("/proc")


def this_process() -> str:
    """Return the tag of this process: ``host:pid:start``."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_time(os.getpid())}"


def is_alive(tag: str) -> bool:
    """Return whether the process of ``tag`` may still live; one on another host is taken to."""
    host, pid, start = tag.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    if _PROC.is_dir():
        return bool(start) and _start_time(int(pid)) == start
    return _answers(int(pid))


def beat_attribute(tag: str) -> str:
    """Return the name of the study's attribute with the heartbeat of a driver."""
    return f"beat:{tag}"


class Heartbeats:
    """The heartbeats of other drivers, as this one sees them change.

    What a beat says is not compared with any clock, since those of two machines differ; what counts is for how long, by
    the clock of this machine, it has said the same.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = -math.inf
        self._beats: Mapping[str, Any] = {}
        self._since: dict[str, float] = {}

    def look(self, attributes: Mapping[str, Any]) -> None:
        """Take in the attributes of the study."""
        now = self._clock()
        if now - self._looked > DEAD_SECONDS / 2:
            self._since.clear()  # this driver was asleep, or the storage away: then the others could not be heard
        for name, beat in attributes.items():
            if name not in self._since or beat != self._beats.get(name):
                self._since[name] = now
        self._beats, self._looked = dict(attributes), now

    def is_alive(self, tag: str) -> bool:
        """Return whether the driver of ``tag`` may live; one that is heard of for the first time may."""
        if tag.startswith(f"{socket.gethostname()}:"):
            return is_alive(tag)
        since = self._since.setdefault(beat_attribute(tag), self._looked)
        return self._looked - since <= DEAD_SECONDS


def _start_time(pid: int) -> str:
    """Return boot and start time of a process in kernel ticks; empty when it is gone or the system does not say."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()[:8]
        # The command name, in parentheses, may hold anything; state and start time are the fields 3 and 22.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot}-{fields[19]}"


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
