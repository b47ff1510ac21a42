"""Slots: where one training runs at a time."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from drft.errors import UsageError
from drft.memory_limit import low_address_space
from study.executors.local.process import MEMORY, THREADS


def check_address_space() -> None:
    """Refuse to start where no process could load torch.

    Raises:
        UsageError: with the limit.
    """
    if fault := low_address_space():
        raise UsageError(fault)


@dataclass(frozen=True, slots=True)
class Slot:
    """The device and the CPU threads of one worker."""

    name: str
    gpu: str | None
    """GPU that the worker can use, in the form of ``CUDA_VISIBLE_DEVICES``; None for the CPU."""
    threads: int
    """CPU threads of the worker."""

    @property
    def device(self) -> str:
        """The name of the device for the user."""
        return "cpu" if self.gpu is None else f"gpu {self.gpu}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of the worker; they must be set before it imports numpy or torch."""
        return {**MEMORY, **dict.fromkeys(THREADS, str(self.threads)), "CUDA_VISIBLE_DEVICES": self.gpu or ""}


def cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_slots(jobs: int | None = None) -> list[Slot]:
    """Return ``jobs`` CPU slots that share the cores; one per core by default."""
    count = jobs or cores()
    return [Slot(f"cpu-{index}", None, thread_limit(cores() // count)) for index in range(count)]


def gpu_slots(gpus: Sequence[str], per_gpu: int = 1) -> list[Slot]:
    """Return ``per_gpu`` slots on each GPU; neighbours in the list are on different GPUs."""
    threads = thread_limit(cores() // (len(gpus) * per_gpu))
    return [Slot(f"gpu-{gpu}-{index}", gpu, threads) for index in range(per_gpu) for gpu in gpus]


def choose_slots(jobs: int | None, gpus: Sequence[str] | None, per_gpu: int | None) -> list[Slot]:
    """Return the slots for these options; by default all GPUs of this machine, or the CPU if it has none.

    Raises:
        UsageError: when a GPU is missing, or options contradict each other.
    """
    if jobs is not None:
        if gpus or per_gpu:
            raise UsageError("--jobs counts CPU slots: use it without --gpus and --trials-per-gpu")
        return cpu_slots(jobs)
    present = visible_gpus()
    missing = [gpu for gpu in gpus or () if gpu not in present]
    if missing:
        raise UsageError(f"--gpus: no GPU {', '.join(missing)}; this machine offers {', '.join(present) or 'none'}")
    if per_gpu and not present:
        raise UsageError("--trials-per-gpu: this machine offers no GPU; leave it out to train on the CPU")
    chosen = gpus or present
    return gpu_slots(chosen, per_gpu or 1) if chosen else cpu_slots()


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use. CUDA is not started here: workers must be the first to do that."""
    if not _has_gpu_driver():
        return []
    script = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    result = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)  # noqa: S603
    count = int(result.stdout.strip() or 0) if result.returncode == 0 else 0
    allowed = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    return allowed[:count] if allowed else [str(index) for index in range(count)]


def thread_limit(share: int) -> int:
    """Return the CPU threads of a worker with this share of the cores: at least one, at most ``OMP_NUM_THREADS``."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, share)
    return min(share, int(limit)) if limit.isdigit() and int(limit) > 0 else share


def _has_gpu_driver() -> bool:
    """Return whether there can be a GPU, without importing torch, which takes seconds."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return False
    return not sys.platform.startswith("linux") or any(
        os.path.exists(device)  # noqa: PTH110 (device nodes, not files)
        for device in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
    )
