"""What a measurement says of where it was made: processor and versions, no paths and no names of people."""

import platform
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from study.executors.resources import cores
from study.setup.plan import versions


def describe_machine() -> dict[str, Any]:
    """Return processor, cores in use and versions."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "versions": versions(),
    }


def public_command(module: str, arguments: Sequence[str]) -> str:
    """Return a command as it was given, with only the last part of every path."""
    words = (Path(word).name if "/" in word else word for word in arguments)
    return shlex.join(["python", "-m", module, *words])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
