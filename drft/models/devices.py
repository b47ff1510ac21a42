"""The device a training runs on, in which precision, and what makes it repeatable there."""

import os
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import nn

from drft.config.trial_config import Precision
from drft.errors import ConfigError

Computed = Literal["fp32", "bf16", "fp16"]
"""A precision that has been decided on."""

_DTYPES: dict[Computed, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str | None = None) -> torch.device:
    """Return the named device, or the first CUDA device the process sees, or the CPU."""
    if name is not None:
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_label(device: torch.device) -> str:
    """Return a device's name for people: ``cpu`` or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def pick_precision(wanted: Precision, device: torch.device, net: nn.Module) -> Computed:
    """Return the precision to compute in: the wanted one, or for ``auto`` what the device and the network gain by.

    On a GPU ``auto`` is bf16 where it has it. On a CPU it is bf16 where the chip multiplies matrices in it (AMX) and
    the network consists of matrix products; depthwise convolutions move more than they multiply. It depends on
    nothing that is measured, so every worker on such a machine decides alike.

    Raises:
        ConfigError: for fp16 without a GPU.
    """
    if wanted == "fp16" and device.type != "cuda":
        raise ConfigError(f"precision: fp16 needs a GPU, this training runs on {device.type}: choose bf16 or fp32")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    depthwise = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in net.modules())
    return "bf16" if device.type == "cpu" and has_amx() and not depthwise else "fp32"


def has_amx() -> bool:
    """Return whether this CPU multiplies bfloat16 matrices in hardware (AMX) and oneDNN may use that.

    The environment variable ``ONEDNN_MAX_CPU_ISA`` can forbid it; bfloat16 is then slower than float32.
    """
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if allowed not in {"", "ALL", "DEFAULT"} and "AMX" not in allowed:
        return False
    # Releases of torch before get_capabilities cannot be asked: they compute in float32.
    return hasattr(torch.cpu, "get_capabilities") and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def autocast(precision: Computed, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which a network computes in a precision; its parameters stay float32."""
    return torch.autocast(device.type, _DTYPES[precision], enabled=precision != "fp32")


def loss_scaler(precision: Computed, device: torch.device) -> torch.amp.GradScaler:
    """Return what keeps small gradients from vanishing in fp16; in other precisions it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def seed_torch(seed: int) -> None:
    """Seed what draws at random inside a network (dropout, stochastic depth) on every device."""
    torch.manual_seed(seed)
