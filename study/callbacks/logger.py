"""What a logger writes to a tracking program."""

from collections.abc import Mapping
from typing import Any


class Logger:
    """Writes trials to a tracking program; any method may raise. This class writes nothing."""

    def begin_trial(self, number: int, config: Mapping[str, Any]) -> None:
        """Log the start of a trial with its settings, by their path in TrialConfig."""

    def log_epoch(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an epoch."""

    def end_trial(self, number: int, ending: str, metrics: Mapping[str, float]) -> None:
        """Log the end of a trial: ``completed``, ``pruned``, or the reason of a failure, which has no metrics."""

    def close(self) -> None:
        """Finish logging; trials that still run were stopped."""
