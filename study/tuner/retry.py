"""Another try for a failed trial: whether there is one, and what is different about it."""

from collections.abc import Mapping
from typing import Any

from drft.config.trial_config import TrialConfig
from study.executors.base import Kind

_KEPT = ("seed", "control", "attempt", "micro_batch", "place")
"""Attributes that make a retry the very training that was lost."""

_LEAST_MICRO_BATCH = 2
"""Of a single image batch norms make no statistics, and what does not fit two will not fit one."""


def another_try(
    config: TrialConfig, attributes: Mapping[str, Any], kind: Kind, max_retries: int
) -> dict[str, int] | None:
    """Return the attributes in which another try differs from a failed trial; None where there is no other try.

    Args:
        config: of the trial that failed.
        attributes: the user attributes of that trial.
        kind: how it failed.
        max_retries: how often a trial may be tried again.
    """
    if kind == "diverged" or not max_retries:
        return None  # equal trainings diverge equally
    if kind == "memory":  # each try halves what did not fit, so these come to an end by themselves
        half = (config.micro_batch or config.batch_size) // 2
        return {"micro_batch": half} if half >= _LEAST_MICRO_BATCH else None
    attempt = attributes.get("attempt", 0)
    return {"attempt": attempt + 1} if attempt < max_retries else None


def carried_over(number: int, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that a retry begins with."""
    return {name: value for name, value in attributes.items() if name in _KEPT} | {"retry_of": number}


def config_changes(attributes: Mapping[str, Any]) -> dict[str, int]:
    """Return what a retry's configuration has that its parameters do not say."""
    return {"micro_batch": attributes["micro_batch"]} if "micro_batch" in attributes else {}
