"""Whose trial is it? A tag that tells a living driver from a dead one.

Host, process id and start time name one process for good; a process id alone is soon given to another.
"""

import os
import socket
from pathlib import Path

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
