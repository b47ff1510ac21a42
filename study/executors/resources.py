"""Slots: where one training runs at a time."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from drft.errors import UsageError
from drft.memory_limit import low_address_space
from study.executors.local.process import MEMORY, THREADS

_PRINT_MEMORY = """
import torch

def free(index):
    try:
        return torch.cuda.mem_get_info(index)[0]
    except RuntimeError:  # full, or in the exclusive mode of another program: its worker will say so
        return 0

if torch.cuda.is_available():
    print(*[free(index) for index in range(torch.cuda.device_count())])
"""

_MOST_PER_GPU = 8
"""Trainings that fill a card: eight had a kernel running 98 % of the time on an H200, one of mobilenetv2_100 alone at
most half of it, and sixteen seemed slower than eight (``results/benchmarks/gpu-h200.md``)."""

_MEMORY_PER_TRAINING = 10 * 2**30
"""Bytes of GPU memory for one training: those eight took 6 to 8 GiB each."""


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


def trainings_per_gpu(gpus: int, memory: int) -> int:
    """Return how many trainings fill a GPU, as far as the CPU cores and the GPU's memory allow.

    Args:
        gpus: number of GPUs that share the cores.
        memory: the free memory of the fullest of them, in bytes: other programs may use them, too.
    """
    return max(1, min(_MOST_PER_GPU, cores() // gpus, memory // _MEMORY_PER_TRAINING))


def choose_slots(jobs: int | None, gpus: Sequence[str] | None, per_gpu: int | None) -> list[Slot]:
    """Return the slots for these options; by default all GPUs of this machine, or the CPU if it has none.

    Without ``per_gpu``, each GPU has as many slots as ``trainings_per_gpu`` says.

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
    chosen = gpus or list(present)
    if not chosen:
        return cpu_slots()
    return gpu_slots(chosen, per_gpu or trainings_per_gpu(len(chosen), min(present[gpu] for gpu in chosen)))


def visible_gpus() -> dict[str, int]:
    """Return the free memory in bytes of each GPU that this process may use, by its name in ``CUDA_VISIBLE_DEVICES``.

    CUDA is not started here: workers must be the first to do that.
    """
    if not _has_gpu_driver():
        return {}
    result = subprocess.run([sys.executable, "-P", "-c", _PRINT_MEMORY], capture_output=True, text=True, check=False)  # noqa: S603
    memory = [int(word) for word in result.stdout.split()] if result.returncode == 0 else []
    allowed = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    return dict(zip(allowed or map(str, range(len(memory))), memory, strict=False))


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
