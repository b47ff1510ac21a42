"""The device and the floating-point precision of a training, and the seed of torch."""

import os
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import nn

from drft.config.trial_config import Precision
from drft.errors import ConfigError

Computed = Literal["fp32", "bf16", "fp16"]
"""A precision to compute in: every value of the setting but ``auto``."""

_DTYPES: dict[Computed, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


_GPU_PIXELS = 128 * 224**2
"""Pixels of images that pass through a network at once, on a GPU with at least ``_ROOMY`` bytes."""

_ROOMY = 10 * 2**30


def pick_device(name: str | None = None) -> torch.device:
    """Return the named device; without a name the first CUDA device that the process sees, else the CPU.

    On a GPU, convolutions in float32 do without TF32 from then on, in the whole process: it would round their inputs to
    10 bits, and the parts of a network would not agree with the whole.
    """
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    return device


def device_label(device: torch.device) -> str:
    """Return the name of a device to show: ``cpu`` or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def images_at_once(device: torch.device, image_size: int, on_cpu: int) -> int:
    """Return how many images pass through a network at once without gradients: ``on_cpu``, or ``gpu_batch``."""
    return gpu_batch(device, image_size) if device.type == "cuda" else on_cpu


def gpu_batch(device: torch.device, image_size: int) -> int:
    """Return how many images pass through a network at once on a GPU without gradients.

    They must outweigh the start of each kernel, and take a small part of the memory even in wide networks.
    """
    share = min(1.0, device_memory(device) / _ROOMY)
    return max(1, int(_GPU_PIXELS * share) // image_size**2)


def device_memory(device: torch.device) -> float:
    """Return the bytes of a GPU's memory that this process may use."""
    with torch.cuda.device(device):
        total: int = torch.cuda.get_device_properties().total_memory
        return total * torch.cuda.get_per_process_memory_fraction()


def pick_precision(wanted: Precision, device: torch.device, net: nn.Module) -> Computed:
    """Return the precision to compute in: ``wanted``, or for ``auto`` the fastest one.

    On a GPU ``auto`` is bf16 if the GPU supports it. On a CPU it is bf16 if the CPU multiplies bf16 matrices (AMX) and
    the network has no grouped convolutions: the time of depthwise ones is mostly memory access. Nothing is measured, so
    that every worker on such a machine chooses the same precision.

    Raises:
        ConfigError: for fp16 without a GPU.
    """
    if wanted == "fp16" and device.type != "cuda":
        raise ConfigError(f"precision: fp16 needs a GPU, this training runs on {device.type}: choose bf16 or fp32")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    grouped = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in net.modules())
    return "bf16" if device.type == "cpu" and has_amx() and not grouped else "fp32"


def has_amx() -> bool:
    """Return whether this CPU multiplies bfloat16 matrices in hardware (AMX) and oneDNN may use AMX.

    The environment variable ``ONEDNN_MAX_CPU_ISA`` can forbid it; bfloat16 is then slower than float32.
    """
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if allowed not in {"", "ALL", "DEFAULT"} and "AMX" not in allowed:
        return False
    # Older releases of torch have no get_capabilities; with them the computation is in float32.
    return hasattr(torch.cpu, "get_capabilities") and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def autocast(precision: Computed, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which networks compute in a precision; their parameters stay float32."""
    return torch.autocast(device.type, _DTYPES[precision], enabled=precision != "fp32")


def loss_scaler(precision: Computed, device: torch.device) -> torch.amp.GradScaler:
    """Return a gradient scaler, which keeps small fp16 gradients from becoming 0; it does nothing otherwise."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def seed_torch(seed: int) -> None:
    """Seed the random layers of networks (dropout, stochastic depth) on every device."""
    torch.manual_seed(seed)
