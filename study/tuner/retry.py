"""Retries of failed trials: whether there is one, and how it differs from the failed trial."""

from collections.abc import Mapping
from typing import Any

from drft.config.trial_config import TrialConfig
from study.executors.base import Kind

_COPIED = ("seed", "control", "attempt", "micro_batch", "place", "block", "sampler")
"""User attributes that make a retry the same training."""

_SMALLEST_MICRO_BATCH = 2
"""Batch norm needs two images, and a training that does not fit with two will not fit with one."""


def retry_attributes(
    config: TrialConfig, attributes: Mapping[str, Any], kind: Kind, max_retries: int
) -> dict[str, int] | None:
    """Return the user attributes in which a retry differs from a failed trial; None when there is no retry.

    Args:
        config: configuration of the failed trial.
        attributes: user attributes of the failed trial.
        kind: how it failed.
        max_retries: number of retries of a trial.
    """
    if kind == "diverged" or not max_retries:
        return None  # an equal training would diverge again
    if kind == "memory":  # not limited by max_retries: halving ends by itself
        half = (config.micro_batch or config.batch_size) // 2
        return {"micro_batch": half} if half >= _SMALLEST_MICRO_BATCH else None
    attempt = attributes.get("attempt", 0)
    return {"attempt": attempt + 1} if attempt < max_retries else None


def copied_attributes(number: int, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user attributes that a retry of trial ``number`` copies from it."""
    return {name: value for name, value in attributes.items() if name in _COPIED} | {"retry_of": number}


def config_changes(attributes: Mapping[str, Any]) -> dict[str, int]:
    """Return the settings of a retry that are not among its parameters."""
    return {"micro_batch": attributes["micro_batch"]} if "micro_batch" in attributes else {}
