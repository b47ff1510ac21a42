"""The device a training runs on, and what makes it repeatable there."""

import torch


def pick_device(name: str | None = None) -> torch.device:
    """Return the named device, or the first CUDA device the process sees, or the CPU."""
    if name is not None:
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_label(device: torch.device) -> str:
    """Return a device's name for people: ``cpu`` or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def seed_torch(seed: int) -> None:
    """Seed what draws at random inside a network (dropout, stochastic depth) on every device."""
    torch.manual_seed(seed)
