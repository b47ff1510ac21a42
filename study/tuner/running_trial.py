"""A trial under way, as its driver knows it."""

import math
from dataclasses import dataclass, field

from optuna.trial import Trial

from drft.config.trial_config import TrialConfig
from drft.training.records import EpochRecord, FoldEpoch


@dataclass(slots=True)
class RunningTrial:
    """One trial, what it reported, and what is to come of it."""

    trial: Trial
    config: TrialConfig
    control: bool
    records: list[EpochRecord] = field(default_factory=list)
    best: float = -math.inf
    """Highest score so far: of the training or, where there is one for each fold, of the fold under way."""
    fault: str = ""
    would_prune: bool = False

    def take_in(self, record: EpochRecord, score: float) -> tuple[int, float] | None:
        """Keep a record; return what Optuna is to be told: a step and a score, or None.

        Of one training it is the best score so far at every step. Of a training for each fold it is the best score of
        each fold at its end, with the fold, from 0, in the place of the step; the records are those of the last fold.
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
        """Never in the head phase or a fold, and not at the last step or fold, where there is nothing left to save."""
        if self.config.split.every_fold:
            return step + 1 < len(self.config.split.turns)
        head = self.config.head_phase.epochs
        return head < step < head + self.config.depth_phase.epochs
