"""A trial under way, as its driver knows it."""

import math
from dataclasses import dataclass, field

from optuna.trial import Trial

from drft.config import TrialConfig
from drft.records import EpochRecord


@dataclass(slots=True)
class Running:
    """One trial, what it reported, and what is to come of it."""

    trial: Trial
    config: TrialConfig
    control: bool
    records: list[EpochRecord] = field(default_factory=list)
    best: float = -math.inf
    fault: str = ""
    would_prune: bool = False

    def prunable_at(self, step: int) -> bool:
        """Never in the head phase, and not at the last step, where there is nothing left to save."""
        head = self.config.head_phase.epochs
        return head < step < head + self.config.depth_phase.epochs
