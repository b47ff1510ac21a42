"""A running trial of this tuner."""

import math
from dataclasses import dataclass, field

from optuna.trial import Trial

from drft.config.trial_config import TrialConfig
from drft.training.records import EpochRecord, FoldEpoch


@dataclass(slots=True)
class RunningTrial:
    """One running trial and what it reported so far."""

    trial: Trial
    config: TrialConfig
    control: bool
    """Whether it belongs to the control group, which is never pruned."""
    records: list[EpochRecord] = field(default_factory=list)
    best: float = -math.inf
    """Highest score so far: of the training or, with folds, of the current fold."""
    error: str = ""
    """Why its result cannot be used."""
    would_prune: bool = False
    """Whether the pruner would have stopped it (control group)."""

    def add(self, record: EpochRecord, score: float) -> tuple[int, float] | None:
        """Add a record; return the step and the score to report to Optuna, or None for nothing.

        For one training it is the best score so far, at every step. With folds it is the best score of each fold at its
        end, with the index of the fold as the step; ``records`` then holds those of the current fold.
        """
        if isinstance(record, FoldEpoch) and record.step == 1:
            self.records.clear()
            self.best = -math.inf
        self.records.append(record)
        self.best = max(self.best, score)
        if not isinstance(record, FoldEpoch):
            return record.step, self.best
        return (record.fold, self.best) if record.step == self.config.steps else None

    def prunable_at(self, step: int) -> bool:
        """Return whether it may be pruned: never in the head phase or within a fold, nor at the last step or fold."""
        if self.config.split.every_fold:
            return step + 1 < len(self.config.split.turns)
        head = self.config.head_phase.epochs
        return head < step < head + self.config.depth_phase.epochs
