"""Where and how a result was measured: command, processor and versions, without paths or user names."""

import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from study.executors.resources import cores
from study.setup.plan import versions


def describe_run(module: str, label: str) -> dict[str, Any]:
    """Return the entries that every result file has: label, command and machine."""
    # Only the last part of every path: a result file must not name folders of the machine.
    words = (Path(word).name if "/" in word else word for word in sys.argv[1:])
    return {
        "label": label,
        "command": shlex.join(["python", "-m", f"benchmarks.{module}", *words]),
        "machine": {
            "processor": _processor(),
            "cores": cores(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "versions": versions(),
        },
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
